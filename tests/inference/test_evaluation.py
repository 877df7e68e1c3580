"""Evaluation on eight devices, with batches that are filled up, equals numpy image by image."""

import collections
import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import evaluation
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.input.layout import lay_out
from hmsa_jax.input.photometric import normalize
from hmsa_jax.metrics import boundary
from hmsa_jax.models import multiscale

CLASSES = 5


@pytest.fixture(scope="module")
def network(short_trunk):
    architecture = multiscale.Architecture(
        "short", CLASSES, ocr_channels=16, ocr_key_channels=8, head_channels=8
    )
    return multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)


@pytest.fixture(scope="module")
def source():
    """Eleven images: one more batch than fills eight devices, and not a whole one."""
    rng = np.random.default_rng(0)

    def record(i):
        image = cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (48, 32))
        label = rng.integers(0, CLASSES + 1, (32, 48), np.uint8)
        label[label == CLASSES] = 255
        encoded = {"image": cv2.imencode(".png", image), "label": cv2.imencode(".png", label)}
        return {name: data.tobytes() for name, (_, data) in encoded.items()} | {"id": str(i)}

    return [record(i) for i in range(11)]


def test_every_image_counts_once(network, source):
    graphdef, params, batch_stats = network
    protocols = protocol_lib.parse_all(("single", "average:0.5,1", "hierarchical:0.5,1"))
    mesh = sharding.make_mesh(4, 2)
    predictor = Predictor(graphdef, mesh, protocols, "features", flip=True)
    step = evaluation.make_evaluation_step(
        predictor, classes=CLASSES, metrics=("boundary", "calibration")
    )
    state = jax.device_put((params, batch_stats), sharding.replicated(mesh))
    layout = lay_out(source)
    score = functools.partial(
        evaluation.score_source,
        evaluation.compile_for(step, params, batch_stats, layout, mesh, images_per_device=1),
        layout=layout,
        source=source,
        mesh=mesh,
        protocols=[protocol.name for protocol in protocols],
        classes=tuple("abcde"),
        images_per_device=1,
        ignore_label=255,
    )
    found = score(*state)
    begun = []
    with pytest.raises(evaluation.Stopped):
        score(*state, stops_after=lambda batches: begun.append(batches) or batches == 2)
    assert begun == [2]  # the first is done, the second has begun

    @jax.jit
    def predict(image):
        outputs, _ = multiscale.apply(
            graphdef, params, batch_stats, normalize(image[None]), (0.5, 1.0), train=False
        )
        return [p.predict(outputs, (32, 48), "features")[0] for p in protocols]

    expected = np.zeros((len(source), len(protocols), CLASSES, CLASSES), np.int64)
    sums = collections.Counter()
    for record, matrices in zip(source, expected, strict=True):
        image = cv2.imdecode(np.frombuffer(record["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        label = cv2.imdecode(np.frombuffer(record["label"], np.uint8), cv2.IMREAD_UNCHANGED)
        logits = np.array(predict(image)) + np.array(predict(image[:, ::-1]))[:, :, ::-1]
        predictions = logits.argmax(-1).astype(np.uint8)
        for matrix, predicted in zip(matrices, predictions, strict=True):
            np.add.at(matrix, (label[label < 255], predicted[label < 255]), 1)
        probabilities = np.exp(logits / 2) / np.exp(logits / 2).sum(-1, keepdims=True)
        sums["confidence"] += probabilities.max(-1)[:, label < 255].sum(-1)
        labels = np.where(label < 255, label, 255)[None]
        region = boundary.region(labels, jnp.array([1]), 1)
        sums["region"] += np.bincount(labels[region], minlength=256)[:CLASSES]
    confusions = found.confusions
    assert confusions.images == tuple(record["id"] for record in source)
    assert confusions.counts.dtype == np.int32
    assert confusions.counts.shape == expected.shape
    np.testing.assert_array_equal(confusions.counts.sum(-1), expected.sum(-1))  # every label
    moved = np.abs(confusions.counts - expected).sum() / expected.sum()
    assert moved < 1e-3  # rounding may decide a tie between two classes
    calibration = found.sums["calibration"]
    hits = np.trace(confusions.counts, axis1=2, axis2=3).sum(0)
    np.testing.assert_array_equal(calibration["hits"].sum(-1), hits)
    np.testing.assert_array_equal(calibration["count"].sum(-1), expected.sum((0, 2, 3)))
    np.testing.assert_allclose(calibration["confidence"].sum(-1), sums["confidence"], rtol=1e-4)
    for of_protocol in found.sums["boundary"]["label_region"]:
        np.testing.assert_array_equal(of_protocol, sums["region"])
    # Of weights that are not finite no table is made, whatever else is in the batch.
    params, batch_stats = state
    batch_stats["decoder"] = jax.tree.map(lambda x: x * np.nan, batch_stats["decoder"])
    names = "0, 1, 2, 3, 4 and 3 more"
    with pytest.raises(FloatingPointError, match=f"predicts what is not finite for {names}"):
        score(params, batch_stats)


def test_an_image_on_a_canvas_has_the_boundaries_that_it_has_by_itself(network):
    """The distance is 2 % of its own diagonal: 1 pixel of the small ones, 3 of the large one."""
    graphdef, params, batch_stats = network
    sizes = [(32, 48)] * 7 + [(80, 112)]
    rng = np.random.default_rng(1)
    labels = [
        rng.choice([*range(CLASSES), 255], (rows // 8, columns // 8)).repeat(8, 0).repeat(8, 1)
        for rows, columns in sizes
    ]
    source = []
    for number, label in enumerate(labels):
        image = rng.integers(0, 256, (*label.shape, 3), np.uint8)
        encoded = {"image": cv2.imencode(".png", image), "label": cv2.imencode(".png", label)}
        source.append({name: data.tobytes() for name, (_, data) in encoded.items()})
        source[-1]["id"] = str(number)
    mesh = sharding.make_mesh(8, 1)
    protocols = protocol_lib.parse_all(("single",))
    predictor = Predictor(graphdef, mesh, protocols, "features", flip=False)
    step = evaluation.make_evaluation_step(predictor, classes=CLASSES, metrics=("boundary",))
    layout = lay_out(source, 1)
    found = evaluation.score_source(
        evaluation.compile_for(step, params, batch_stats, layout, mesh, images_per_device=1),
        *jax.device_put((params, batch_stats), sharding.replicated(mesh)),
        source,
        mesh,
        protocols=["single (1)"],
        classes=tuple("abcde"),
        images_per_device=1,
        ignore_label=255,
        layout=layout,
    )
    expected = np.zeros(CLASSES, int)
    for label, distance in zip(labels, [1] * 7 + [3], strict=True):
        for c in range(CLASSES):
            eroded = ndimage.binary_erosion(label == c, np.ones((3, 3)), distance)
            expected[c] += (label == c).sum() - eroded.sum()
    counts = found.sums["boundary"]
    np.testing.assert_array_equal(counts["label_region"], [expected])
    labelled = [[(label == c).sum() for c in range(CLASSES)] for label in labels]
    np.testing.assert_array_equal(found.confusions.labelled(), labelled)
    # No class is predicted on the padding.
    predicted = found.confusions.counts.sum((0, 1, 2))
    assert (counts["predicted_region"][0] <= predicted).all()
