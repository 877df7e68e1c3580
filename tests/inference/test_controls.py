"""Controls of the attention on eight devices and shared canvases: numpy, image by image."""

import functools
import itertools
import json

import cv2
import jax
import numpy as np
import pytest
from scipy import ndimage

from configs import street_scenes
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import attention
from hmsa_jax.inference import controls, evaluation
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.input import decoding, next_images
from hmsa_jax.input.layout import Layout, lay_out
from hmsa_jax.input.photometric import normalize
from hmsa_jax.metrics.objects import SIZES as SIZE_NAMES
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.layers.canvas import Canvas
from hmsa_jax.report.attention_scores import AttentionScores, to_gain_table, to_json, to_table
from hmsa_jax.runtime.progress import console
from tests import short_network

CLASSES = 4
SCALES = (1.0, 2.0)
SIZES = ((32, 48), (48, 40))
IMAGES = 11


def of_features(fuse):
    return jax.jit(functools.partial(fuse, resolution="features"), static_argnames="size")


each_resized, hierarchical, attention_weights = map(
    of_features, (fusion.each_resized, fusion.hierarchical, fusion.attention_weights)
)


@pytest.fixture(scope="module")
def network(short_trunk):
    return short_network.drawn(CLASSES)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)

    def record(i):
        rows, columns = SIZES[i % len(SIZES)]
        image = cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (columns, rows))
        label = rng.choice([*range(CLASSES), 255], (rows // 4, columns // 4)).astype(np.uint8)
        label = label.repeat(4, 0).repeat(4, 1)
        label[::5, ::3] = rng.integers(0, CLASSES, label[::5, ::3].shape)  # objects of one pixel
        encoded = {"image": cv2.imencode(".png", image), "label": cv2.imencode(".png", label)}
        return {name: data.tobytes() for name, (_, data) in encoded.items()} | {"id": str(i)}

    return [record(i) for i in range(IMAGES)]


def replaced(control, own, following):
    """The attention of a scale, `[h, w, 1]`, in place of `own`."""
    return {
        "": own,
        "mean attention": np.full_like(own, own.mean()),
        "attention 0.5": np.full_like(own, 0.5),
        "mirrored attention": own[:, ::-1],
        "next image's attention": cv2.resize(following, own.shape[1::-1])[..., None],
    }[control]


def predictions_of(each, number):
    """Name -> logits, or for the oracle classes, of one image."""
    outputs, size = each[number]
    others, _ = each[(number + 1) % len(each)]
    logits = {scale: outputs[scale].logits for scale in SCALES}
    alone = [np.array(x) for x in each_resized(logits, size=size)[::-1]]
    named = {controls.alone_name(s): x for s, x in zip(SCALES, alone, strict=True)}
    named["average (1, 2)"] = sum(alone)
    for control in ("", *controls.CONTROLS):
        of_scales = {
            s: replaced(
                control, np.array(outputs[s].attention[0]), np.array(others[s].attention[0])
            )
            for s in SCALES
        }
        fused = hierarchical(logits, {s: a[None] for s, a in of_scales.items()}, size=size)
        named["hierarchical (1, 2)" + (f", {control}" if control else "")] = fused
    return {name: np.array(x[0]).argmax(-1) for name, x in named.items()}


def sizes_of(label):
    """The size of the object of each pixel, by scipy."""
    sizes = np.zeros(label.shape, int)
    for number in range(CLASSES):
        components, count = ndimage.label(label == number, np.ones((3, 3)))
        for component in range(1, count + 1):
            mask = components == component
            sizes[mask] = np.digitize(mask.mean(), (0.001, 0.01))
    return sizes


def count_objects(label, size, number):
    """How many objects of a class have a size."""
    components, _ = ndimage.label(label == number, np.ones((3, 3)))
    return len(np.unique(components[(sizes_of(label) == size) & (label == number)]))


@pytest.fixture(scope="module")
def counted(network, source):
    """What the step counts, on canvases that all sizes share."""
    graphdef, params, batch_stats = network
    way = protocol_lib.parse("hierarchical:1,2")
    mesh = sharding.make_mesh(4, 2)
    predictor = controls.PairPredictor(
        graphdef, mesh, controls.protocols_of(way), "features", flip=False, each_scale=True
    )
    layout = lay_out(source, 1)
    assert layout.shared
    batches = controls.pair_batches(
        source,
        layout,
        batch_size=16,
        classes=CLASSES,
        ignore_label=255,
        process_index=0,
        process_count=1,
    )
    step = controls.make_controls_step(predictor, classes=CLASSES)

    @functools.cache
    def program():
        """All batches have one shape."""
        return step.lower(*first).compile()

    def quick_step(*arguments):
        first.extend([] if first else arguments)
        return program()(*arguments)

    first = []
    return way, evaluation.score_batches(
        quick_step,
        *jax.device_put((params, batch_stats), sharding.replicated(mesh)),
        batches,
        dict.fromkeys(controls.BATCH, sharding.whole_images(mesh)),
        images=IMAGES,
        protocols=controls.names_of(way),
        classes=tuple("abcd"),
    )


@pytest.fixture(scope="module")
def expected(network, source):
    """Confusions `[N, P, C, C]`, hits `[P, C, 3]`, shares `[S, C, 3]`, labels."""
    graphdef, params, batch_stats = network
    apply = jax.jit(
        lambda x: multiscale.apply(
            graphdef, params, batch_stats, normalize(x[None]), SCALES, train=False
        )[0]
    )
    each, labels = [], []
    for record in source:
        image, label = decoding.decode(record)
        each.append((apply(image), label.shape))
        labels.append(label)
    names = controls.names_of(protocol_lib.parse("hierarchical:1,2"))
    matrices = np.zeros((IMAGES, len(names), CLASSES, CLASSES), int)
    hits, shares = np.zeros((len(names), CLASSES, 3)), np.zeros((2, CLASSES, 3))
    for number, label in enumerate(labels):
        found, sizes = predictions_of(each, number), sizes_of(label)
        at_one, at_two = (found[controls.alone_name(scale)] for scale in SCALES)
        found["oracle"] = np.where(at_two == label, at_two, at_one)
        outputs = each[number][0]
        of_scales = attention_weights(
            {scale: outputs[scale].attention for scale in SCALES}, size=label.shape
        )
        known = label < 255
        for i, name in enumerate(names):
            np.add.at(matrices[number, i], (label[known], found[name][known]), 1)
            right = known & (found[name] == label)
            np.add.at(hits[i], (label[right], sizes[right]), 1)
        for i, scale in enumerate(SCALES):
            values = np.array(of_scales[scale])[0, ..., 0][known]
            np.add.at(shares[i], (label[known], sizes[known]), values)
    return matrices, hits, shares, labels


def test_every_control_is_that_of_numpy(counted, expected):
    _, found = counted
    matrices, hits, *_ = expected
    assert found.confusions.images == tuple(str(i) for i in range(IMAGES))
    np.testing.assert_array_equal(found.confusions.counts.sum(-1), matrices.sum(-1))
    moved = np.abs(found.confusions.counts - matrices).sum((0, 2, 3)) / matrices.sum((0, 2, 3))
    assert moved.max() < 1e-3  # rounding may decide a tie between two classes
    assert np.abs(found.sums["objects"]["hits"] - hits).sum() / hits.sum() < 1e-3
    # Each decides many pixels in a way of its own; of two scales 0.5 takes the mean.
    totals = dict(found.confusions.totals)
    half = totals.pop("hierarchical (1, 2), attention 0.5")
    assert np.abs(half - totals["average (1, 2)"]).sum() < 20
    for first, second in itertools.combinations(totals.values(), 2):
        assert np.abs(first - second).sum() > 50


def test_pixels_objects_and_shares_are_counted_by_class_and_size(counted, expected):
    objects = counted[1].sums["objects"]
    _, _, shares, labels = expected
    pixels, number = np.zeros((2, CLASSES, 3), int)
    for label in labels:
        sizes = sizes_of(label)
        for c, size in np.ndindex(CLASSES, 3):
            pixels[c, size] += ((label == c) & (sizes == size)).sum()
            number[c, size] += count_objects(label, size, c)
    assert pixels.sum(0).all()
    np.testing.assert_array_equal(objects["pixels"], pixels)
    np.testing.assert_array_equal(objects["objects"], number)
    np.testing.assert_allclose(objects["shares"], shares, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(objects["shares"].sum(0), pixels, rtol=1e-4)


def test_the_oracle_is_right_wherever_a_scale_is(counted):
    hits = counted[1].sums["objects"]["hits"]
    assert (hits[-1] >= hits[: len(SCALES)].max(0)).all()
    assert hits[-1].sum() > hits[:-1].sum((1, 2)).max()


def test_figures_follow_from_the_counts(counted):
    way, found = counted
    scores = AttentionScores.of(way, found)
    written = json.loads(to_json(scores, split="a/b", step=3))
    sums = found.sums["objects"]
    names = controls.names_of(way)
    assert list(written["protocols"]) == names
    alone, itself = (names.index(name) for name in (controls.alone_name(1.0), way.name))
    recall = {i: sums["hits"][i] / sums["pixels"] for i in (alone, itself)}
    of_itself = written["protocols"][way.name]
    for c, name in enumerate(found.confusions.classes):
        for size, value in enumerate(of_itself["gain"]["by_class_and_size"][name].values()):
            expected = 100 * (recall[itself] - recall[alone])[c, size]
            assert value == pytest.approx(expected, abs=1e-4)
        hits, pixels = sums["hits"][itself, c].sum(), sums["pixels"][c].sum()
        of_confusion = of_itself["recall"][name]
        assert of_confusion == pytest.approx(100 * hits / pixels, abs=1e-4)
        assert of_itself["recall_of_objects"]["by_class"][name] == of_confusion
        assert sum(written["objects"][name][size]["pixels"] for size in SIZE_NAMES) == pixels
    shares = [written["shares"][f"{scale:g}"]["by_size"]["small"] for scale in way.scales]
    assert sum(shares) == pytest.approx(100, abs=0.01)
    assert of_itself["beyond"] == {"mean_iou": 0, "interval": [0, 0]}
    oracle = written["protocols"]["oracle"]
    beyond = oracle["mean_iou"] - of_itself["mean_iou"]
    assert oracle["beyond"]["mean_iou"] == pytest.approx(beyond, abs=1e-3)
    with console.capture() as capture:
        console.print(to_table(scores, "a/b, step 3"))
        console.print(to_gain_table(scores))
    printed = capture.get()
    assert f"{oracle['mean_iou']:.1f}" in printed
    assert f"{beyond:+.1f}" in printed
    objects = sum(written["objects"][name]["small"]["objects"] for name in "abcd")
    assert f"small objects ({objects})" in printed


def test_of_filled_arrays_the_next_and_the_mirror_are_plain():
    rng = np.random.default_rng(0)
    maps = rng.random((4, 3, 5, 1), np.float32)
    canvas = Canvas((3, 5))
    got = {name: np.array(control(maps, canvas)) for name, control in controls.CONTROLS.items()}
    np.testing.assert_array_equal(got["next image's attention"], maps[[1, 0, 3, 2]])
    np.testing.assert_array_equal(got["mirrored attention"], maps[:, :, ::-1])
    np.testing.assert_allclose(
        got["mean attention"], maps.mean((1, 2), keepdims=True).repeat(3, 1).repeat(5, 2), rtol=1e-6
    )
    assert (got["attention 0.5"] == 0.5).all()


def test_the_next_image_is_that_of_the_canvas():
    sizes = dict(enumerate([(4, 4), (8, 8), (4, 4), (4, 3), (6, 6)]))
    canvases = {(4, 4): (4, 4), (4, 3): (4, 4), (8, 8): (8, 8), (6, 6): (6, 6)}
    layout = Layout(sizes, {}, canvases, frozenset())
    following = next_images.next_on_canvas(layout)
    assert following == {0: 2, 2: 3, 3: 0, 1: 1, 4: 4}


@pytest.mark.parametrize(
    ("kind", "protocol", "message"),
    [
        ("none", None, "model.attention is 'none'; expected attention that each scale has"),
        ("explicit", None, "model.attention is 'explicit'; expected attention that each scale has"),
        ("hierarchical", "average:0.5,1", "--protocol is average:0.5,1; expected attention that"),
        ("explicit", "hierarchical:0.5,1", "--protocol is hierarchical:0.5,1, but the run's"),
        ("hierarchical", "hierarchical:1,2@50%", "of whole images; name hierarchical:1,2$"),
    ],
)
def test_what_has_no_attention_of_its_own_scales_is_refused(kind, protocol, message, tmp_path):
    config = street_scenes.get_config()
    config.model.attention = kind
    if kind == "none":
        config.objective.scales = (1.0,)
    with pytest.raises(ValueError, match=message):
        attention.protocol_of(protocol, config)
