"""Names, shapes and layout of PyTorch's weights."""

import json
import re

import jax
import numpy as np
import pytest

from hmsa_jax.models import heads, multiscale, pretrained
from hmsa_jax.models.attentions import ATTENTIONS
from tests.fixtures import seeded
from tests.fixtures.arrays import FOLDER
from tests.models.published_network import TINY

W48 = {"trunk": "w48", "semantic_head": "published"}
RESNET = {"trunk": "resnet50", "semantic_head": "published"}
MANIFESTS = {
    "w48_manifest": (W48, 1903, 72.143),
    "mscale_r50_manifest": (RESNET, 376, 41.643),
    "deepv3plus_r50_manifest": (RESNET | {"attention": "none"}, 363, 40.351),
}


def draw(**fields):
    architecture = multiscale.Architecture(**fields)
    _, params, batch_stats = multiscale.initialize(
        architecture, dtype="float32", remat="none", seed=0
    )
    return architecture, params, batch_stats


@pytest.mark.parametrize("name", MANIFESTS)
def test_no_name_is_left_over_on_either_side(name):
    fields, count, million_parameters = MANIFESTS[name]
    published = json.loads((FOLDER / f"{name}.json").read_text())
    assert len(published) == count
    architecture, params, batch_stats = draw(**fields, classes=19)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert parameters == pytest.approx(million_parameters * 1e6, abs=500)

    file = {f"module.{k}": np.zeros(shape, np.float32) for k, shape in published.items()}
    filled, statistics, coverage = pretrained.load(file, params, batch_stats, architecture)
    assert coverage.complete, coverage.describe()
    assert not any(leaf.any() for leaf in jax.tree.leaves((filled, statistics)))

    exported = pretrained.export(params, batch_stats, architecture, updates=7)
    assert {name: list(value.shape) for name, value in exported.items()} == published
    counters = [v for k, v in exported.items() if k.endswith("num_batches_tracked")]
    assert {(v.dtype, int(v)) for v in counters} == {(np.dtype(np.int64), 7)}


@pytest.fixture(scope="module")
def tiny():
    """Architecture, drawn weights, and a published state dict."""
    architecture, params, batch_stats = draw(**TINY, classes=5)
    shapes = {
        name: value.shape
        for name, value in pretrained.export(params, batch_stats, architecture, updates=0).items()
    }
    return architecture, params, batch_stats, seeded.state_dict(3, shapes)


def load(tiny, state):
    architecture, params, batch_stats, _ = tiny
    params, batch_stats, coverage = pretrained.load(state, params, batch_stats, architecture)
    return pretrained.export(params, batch_stats, architecture, updates=7), coverage


def test_round_trip_is_exact(tiny):
    state = tiny[3]
    got, coverage = load(tiny, state)
    assert coverage.complete
    assert got.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)
        assert got[name].dtype == value.dtype


def by_authors_of_ocr(name):
    """The name of a tensor in HRNet-OCR's own repository."""
    name = re.sub(r"^(backbone|ocr)\.", "", name)
    name = re.sub(r"^(conv3x3_ocr|aux_head)\.1\.0\.", r"\1.1.", name)
    return "model." + re.sub(r"^aux_head\.2\.", "aux_head.3.", name)


def test_names_of_the_authors_of_ocr(tiny):
    state = {k: v for k, v in tiny[3].items() if not k.startswith("scale_attn")}
    theirs = {by_authors_of_ocr(name): value for name, value in state.items()}
    for name in ("model.conv3x3_ocr.1.running_var", "model.aux_head.3.bias", "model.bn1.weight"):
        assert name in theirs
    got, coverage = load(tiny, theirs | {"loss.criterion.weight": np.ones(19)})
    assert not coverage.unused
    assert not coverage.mismatched
    assert all(name.startswith("scale_attn") for name in coverage.missing)
    for name, value in state.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_trunk_trained_on_imagenet(tiny):
    trunk = {k: v for k, v in tiny[3].items() if k.startswith("backbone.")}
    file = {k.removeprefix("backbone."): v for k, v in trunk.items()} | {
        "incre_modules.0.0.conv1.weight": np.zeros((32, 8, 1, 1), np.float32),
        "downsamp_modules.0.0.bias": np.zeros(64, np.float32),
        "final_layer.0.weight": np.zeros((8, 8, 1, 1), np.float32),
        "classifier.weight": np.zeros((1000, 8), np.float32),
    }
    got, coverage = load(tiny, file)
    assert not coverage.unused
    assert coverage.missing
    assert not any(name.startswith("backbone.") for name in coverage.missing)
    for name, value in trunk.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_resnet_of_torchvision():
    architecture, params, batch_stats = draw(**RESNET, classes=5)
    exported = pretrained.export(params, batch_stats, architecture, updates=0)
    shapes = {k: v.shape for k, v in exported.items() if k.startswith("backbone.")}
    state = seeded.state_dict(3, shapes)
    file = {"fc.weight": np.zeros((1000, 2048)), "fc.bias": np.zeros(1000)}
    for name, value in state.items():
        name = name.removeprefix("backbone.")
        file[name.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.")] = value
    assert {"conv1.weight", "bn1.running_var", "layer4.2.conv3.weight"} <= file.keys()
    params, batch_stats, coverage = pretrained.load(file, params, batch_stats, architecture)
    assert not coverage.unused
    assert not any(name.startswith("backbone.") for name in coverage.missing)
    got = pretrained.export(params, batch_stats, architecture, updates=7)
    for name, value in state.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_all_that_does_not_fit_is_reported_together(tiny):
    state = dict(tiny[3])
    del state["ocr.cls_head.bias"]
    state["ocr.cls_head.weight"] = np.ones((19, 64, 1, 1), np.float32)
    state["decoder.weight"] = np.ones(3, np.float32)
    got, coverage = load(tiny, state)
    assert coverage.missing == ["ocr.cls_head.bias"]
    assert coverage.unused == ["decoder.weight"]
    assert coverage.mismatched == [
        "ocr.cls_head.weight: [19, 64, 1, 1] in the source, [5, 64, 1, 1] in the network"
    ]
    assert len(coverage.taken) == len(jax.tree.leaves(tiny[1:3])) - 2
    for part in ("ocr.cls_head.bias", "decoder.weight", "[19, 64, 1, 1] in the source"):
        assert part in coverage.describe()
    assert got["ocr.cls_head.weight"].shape == (5, 64, 1, 1)


def test_many_names_are_reported_as_templates(tiny):
    state = {k: v for k, v in tiny[3].items() if ".branches." not in k}
    _, coverage = load(tiny, state)
    assert len(coverage.missing) == 180
    assert coverage.describe().startswith("180 in the network only: ")
    assert "backbone.stage#.#.branches.#.#.conv#.weight (36x)" in coverage.describe()


@pytest.mark.parametrize("trunk", ["w18_small", "resnet50"])
@pytest.mark.parametrize("attention", ATTENTIONS.names())
@pytest.mark.parametrize("semantic_head", heads.SEMANTIC_HEADS)
def test_every_tensor_of_every_network_has_a_name_of_its_own(trunk, attention, semantic_head):
    architecture, *weights = draw(
        trunk=trunk,
        classes=5,
        attention=attention,
        scales=(0.5, 1.0),
        semantic_head=semantic_head,
        ocr_channels=16,
        ocr_key_channels=8,
        head_channels=8,
    )
    exported = pretrained.export(*weights, architecture, updates=0)
    named = [name for name in exported if not name.endswith("num_batches_tracked")]
    assert len(named) == len(jax.tree.leaves(weights))
    _, _, coverage = pretrained.load(exported, *weights, architecture)
    assert coverage.complete


@pytest.mark.parametrize(
    "wrapped",
    ["_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.module.{}", "backbone._orig_mod.{}"],
)
def test_wrappers_of_a_network_are_no_part_of_its_names(tiny, wrapped):
    """Of DataParallel and of torch.compile, in any order, and of a compiled part."""
    part = "backbone." if wrapped.startswith("backbone") else ""
    state = {
        wrapped.format(name.removeprefix(part)) if name.startswith(part) else name: value
        for name, value in tiny[3].items()
    }
    got, coverage = load(tiny, state)
    assert coverage.complete, coverage.describe()
    np.testing.assert_array_equal(got["backbone.bn1.bias"], tiny[3]["backbone.bn1.bias"])


def test_one_tensor_under_two_names_is_refused(tiny):
    state = {"module.backbone.bn1.bias": np.ones(64), "backbone.bn1.bias": np.ones(64)}
    with pytest.raises(ValueError, match=r"backbone\.bn1\.bias twice"):
        load(tiny, state)


def test_half_precision_is_widened(tiny):
    state = {name: v.astype(np.float16) for name, v in tiny[3].items() if v.ndim}
    got, _ = load(tiny, state)
    for name, value in state.items():
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(got[name], value)


def test_weights_that_are_no_numbers_of_a_network_are_refused(tiny):
    state = tiny[3] | {"ocr.cls_head.bias": np.arange(5)}
    _, coverage = load(tiny, state)
    assert coverage.mismatched == ["ocr.cls_head.bias: int64 in the source, float32 in the network"]


def test_matching_tensors_of_a_network_with_other_classes(tiny):
    _, params, _, _ = tiny
    _, others, _ = draw(**TINY, classes=3, attention="none")
    others = jax.tree.map(lambda x: x + 1, others)
    got, coverage = pretrained.take_matching(params, others)
    assert {line.partition(":")[0] for line in coverage.mismatched} == {
        "decoder.aux_head.output.bias",
        "decoder.aux_head.output.kernel",
        "semantic_head.output.bias",
        "semantic_head.output.kernel",
    }
    assert all(name.startswith("attention_head.") for name in coverage.missing)
    assert not coverage.unused
    np.testing.assert_array_equal(
        got["trunk"]["stem"]["layers"][0]["conv"]["kernel"],
        others["trunk"]["stem"]["layers"][0]["conv"]["kernel"],
    )
    assert got["semantic_head"]["output"]["kernel"] is params["semantic_head"]["output"]["kernel"]
