"""Evaluation on eight devices, with batches that are filled up, equals numpy image by image."""

import cv2
import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import evaluation
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.input.photometric import normalize
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
    step = evaluation.make_evaluation_step(predictor, classes=CLASSES)
    state = jax.device_put((params, batch_stats), sharding.replicated(mesh))
    total = evaluation.score_source(
        step, *state, source, mesh, images_per_device=1, ignore_label=255
    )

    @jax.jit
    def predict(image):
        outputs, _ = multiscale.apply(
            graphdef, params, batch_stats, normalize(image[None]), (0.5, 1.0), train=False
        )
        return [p.predict(outputs, (32, 48), "features")[0] for p in protocols]

    expected = np.zeros((len(protocols), CLASSES, CLASSES), np.int64)
    for record in source:
        image = cv2.imdecode(np.frombuffer(record["image"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        label = cv2.imdecode(np.frombuffer(record["label"], np.uint8), cv2.IMREAD_UNCHANGED)
        logits = np.array(predict(image)) + np.array(predict(image[:, ::-1]))[:, :, ::-1]
        for matrix, predicted in zip(expected, logits.argmax(-1), strict=True):
            np.add.at(matrix, (label[label < 255], predicted[label < 255]), 1)
    assert total.dtype == np.int64
    assert total.shape == expected.shape
    np.testing.assert_array_equal(total.sum(-1), expected.sum(-1))  # every label, exactly
    moved = np.abs(total - expected).sum() / expected.sum()
    assert moved < 1e-3  # rounding may decide a tie between two classes
    # Of weights that are not finite no table is made, whatever else is in the batch.
    params, batch_stats = state
    batch_stats["decoder"] = jax.tree.map(lambda x: x * np.nan, batch_stats["decoder"])
    names = "0, 1, 2, 3, 4 and 3 more"
    with pytest.raises(FloatingPointError, match=f"predicts what is not finite for {names}"):
        evaluation.score_source(
            step, params, batch_stats, source, mesh, images_per_device=1, ignore_label=255
        )
