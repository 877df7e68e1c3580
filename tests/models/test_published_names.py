"""The names that others gave the same layers, and the networks that their files hold."""

import functools
import json

import jax
import numpy as np
import pytest

from hmsa_jax.models import multiscale, pretrained, published_names, recognition
from hmsa_jax.models.trunks import TRUNKS
from tests.comparison import check
from tests.fixtures import drawn
from tests.fixtures.arrays import FOLDER, nhwc, read

ATTENTION = {"paddleseg": "hierarchical", "paddleseg_ocrnet": "none", "mmsegmentation": "none"}
PREDICTED = [(origin, name) for origin in ATTENTION for name in ("logits", "aux_logits")]


def tensors_of(origin):
    """The tensors of a fixture's network, as its framework has them."""
    return drawn.weights(json.loads(str(read(f"{origin}_small")["shapes"])))


def load(tensors):
    """The network in a file, its weights, and how the two fit."""
    found = recognition.recognize(tensors)
    architecture = multiscale.Architecture(found.trunk, found.classes, **found.fields)
    graphdef, *weights = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    *weights, coverage = pretrained.load(tensors, *weights, architecture)
    return graphdef, weights, coverage


@functools.cache
def predict(origin):
    """What we predict with these tensors."""
    graphdef, weights, coverage = load(tensors_of(origin))
    assert coverage.complete, coverage.describe()
    assert len(coverage.folded) == (7 if origin == "paddleseg_ocrnet" else 0)
    run = jax.jit(lambda *values: multiscale.apply(graphdef, *values, (1.0,), train=False)[0])
    return jax.device_get(run(*weights, nhwc(drawn.image(32, 64))))[1.0]


@pytest.mark.parametrize("prefix", ["ocrnet.", ""])
def test_paddlesegs_single_scale_network_for_the_paper_fits_without_its_attention(prefix):
    """Its contrib/CityscapesSOTA trains that one first; it has no biases before BatchNorms."""
    tensors = {
        prefix + name.removeprefix("ocrnet."): tensor
        for name, tensor in tensors_of("paddleseg").items()
        if "scale_attn" not in name
    }
    assert recognition.recognize(tensors).fields["attention"] == "none"
    _, _, coverage = load(tensors)
    assert coverage.complete, coverage.describe()
    assert not coverage.folded


@pytest.mark.parametrize(("origin", "name"), [*PREDICTED, ("paddleseg", "attention")])
def test_predictions_are_those_of_their_own_code(record_property, origin, name):
    got = getattr(predict(origin), name)
    check(record_property, got, nhwc(read(f"{origin}_small")[name]), 1e-4)


def of_shapes(shapes):
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def manifest(name):
    return of_shapes(json.loads((FOLDER / f"{name}_manifest.json").read_text()))


WIDE = {"semantic_head": "published", "ocr_channels": 512, "ocr_key_channels": 256}
NARROW = {"semantic_head": "published", "ocr_channels": 16, "ocr_key_channels": 8}


@pytest.mark.parametrize(
    ("tensors", "trunk", "classes", "fields"),
    [
        (
            manifest("w48"),
            "w48",
            19,
            WIDE | {"attention": "hierarchical", "head_channels": 256},
        ),
        (
            manifest("deepv3plus_r50"),
            "resnet50",
            19,
            {"semantic_head": "published", "attention": "none", "head_channels": 256},
        ),
        (
            tensors_of("paddleseg"),
            "w18_small",
            19,
            NARROW | {"attention": "hierarchical", "head_channels": 256},
        ),
        (tensors_of("mmsegmentation"), "w18_small", 19, NARROW | {"attention": "none"}),
    ],
)
def test_a_file_tells_its_network(tensors, trunk, classes, fields):
    found = recognition.recognize({f"module.{name}": value for name, value in tensors.items()})
    assert found == recognition.Recognized(trunk, classes, fields)
    assert found.describe().startswith(f"{trunk} and ")


def test_a_trunk_alone_tells_no_classes():
    tensors = {
        name.removeprefix("backbone."): value
        for name, value in tensors_of("mmsegmentation").items()
        if name.startswith("backbone.")
    }
    assert published_names.origin_of(tensors) == "classification"
    assert recognition.recognize(tensors) == recognition.Recognized("w18_small", 0, {})


def test_trunks_are_told_apart():
    told = [TRUNKS.get(name).landmarks for name in TRUNKS.names()]
    for name, landmarks in zip(TRUNKS.names(), told, strict=True):
        shapes = {f"{layer}.weight": (n, 1) for layer, n in landmarks.items() if n}
        assert recognition.recognize(of_shapes(shapes)).trunk == name


def without(tensors, part):
    return {name: value for name, value in tensors.items() if part not in name}


EXPLICIT = tensors_of("paddleseg") | {
    "scale_attn.atten_head.2.weight": np.zeros((3, 256, 1, 1), np.float32)
}


@pytest.mark.parametrize(
    "tensors",
    [
        {"features.0.weight": np.ones((8, 3, 3, 3))},
        without(tensors_of("paddleseg"), "st4"),
        tensors_of("mmsegmentation") | {"backbone.stage4.1.branches.3.0.conv2.weight": np.ones(64)},
        EXPLICIT,
    ],
)
def test_what_is_not_known_is_not_guessed(tensors):
    assert recognition.recognize(tensors) is None


@pytest.mark.parametrize(
    ("origin", "name", "other"),
    [
        ("paddleseg", "st4_1_branch_layer_1_1", "st4_1_branch_layer_0_1"),  # numbers begin at 1
        ("paddleseg", "backbone.st2.stage_st2_1", "backbone.st2.stage_st3_1"),
        ("mmsegmentation", "out_project.conv", "out_project.0.conv"),
    ],
)
def test_names_that_nobody_gave_are_left_over(origin, name, other):
    tensors = {key.replace(name, other): x for key, x in tensors_of(origin).items()}
    renamed = published_names.with_published_names(tensors, TRUNKS.get("w18_small"))
    left = {key for key in tensors if other in key}
    assert left
    assert left <= renamed.keys()


def test_only_biases_that_mmsegmentation_has_not_are_zero():
    """Of another origin a bias that is missing is missing."""
    tensors = without(tensors_of("paddleseg"), "head.conv3x3_ocr._conv.bias")
    renamed = published_names.with_published_names(tensors, TRUNKS.get("w18_small"))
    assert "ocr.conv3x3_ocr.0.weight" in renamed
    assert "ocr.conv3x3_ocr.0.bias" not in renamed
    renamed = published_names.with_published_names(
        tensors_of("mmsegmentation"), TRUNKS.get("w18_small")
    )
    assert not renamed["ocr.conv3x3_ocr.0.bias"].any()


def test_a_bias_goes_into_the_mean_after_it():
    """Of any origin, in any precision."""
    tensors = tensors_of("mmsegmentation")
    mean, bias = "backbone.bn1.running_mean", "backbone.conv1.bias"
    tensors |= {mean: np.full(64, 0.5, np.float16), bias: np.arange(64, dtype=np.float16)}
    _, (_, batch_stats), coverage = load(tensors)
    assert coverage.complete
    assert coverage.folded == [bias]
    got = batch_stats["trunk"]["stem"]["layers"][0]["bn"]["mean"]
    np.testing.assert_array_equal(got, 0.5 - np.arange(64))


@pytest.mark.parametrize("bias", [np.zeros(32, np.float32), np.zeros(64, np.int32)])
def test_a_bias_that_fits_no_mean_is_left_over(bias):
    tensors = tensors_of("mmsegmentation") | {"backbone.conv1.bias": bias}
    _, _, coverage = load(tensors)
    assert coverage.unused == ["backbone.conv1.bias"]
    assert not coverage.folded


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "head.spatial_ocr.attention_block.f_pixel.0._conv.bias",
            "It is PaddleSeg's own OCRNet, whose HRNet reads other pixels",
        ),
        ("decode_head.aspp_modules.1.depthwise_conv.conv.weight", "DeepLabV3"),
        ("backbone.stem.0.weight", "whose stem is three convolutions"),
    ],
)
def test_networks_that_are_known_to_be_others(name, reason):
    origin = "paddleseg" if "._conv" in name else "mmsegmentation"
    tensors = tensors_of(origin)
    assert not published_names.why_unlike(tensors)
    assert reason in published_names.why_unlike(tensors | {name: np.zeros(3, np.float32)})
