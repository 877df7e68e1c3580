"""On a canvas an image is predicted as by itself: all methods, odd sizes, mirror image, float64."""

import jax
import numpy as np
import pytest

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.models import multiscale
from hmsa_jax.models.trunks import TRUNKS
from tests import least_networks, short_network

CLASSES = 4
CANVAS = (64, 96)
SIZES = [(61, 93), (33, 70), (64, 96), (40, 9)]
CASES = [
    (least_networks.HRNET, "hierarchical", "image", ("hierarchical:0.25,1", "max:0.25,1")),
    (least_networks.HRNET, "explicit", "features", ("explicit:0.5,1",)),
    (least_networks.RESNET, "hierarchical", "features", ("hierarchical:0.5,1",)),
    (short_network.TRUNK, "hierarchical", "features", ("hierarchical:0.5,1,1.5@30%",)),
]
TOLERANCE = 1e-11


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    def normalized(images):  # it is float32 otherwise
        return images.astype("float64") / 64 - 2

    monkeypatch.setattr(protocol_lib, "normalize", normalized)
    with jax.enable_x64(True):
        yield


def drawn(attention):
    architecture = multiscale.Architecture(
        "least",
        CLASSES,
        attention=attention,
        scales=(0.5, 1.0),
        ocr_channels=16,
        ocr_key_channels=8,
        head_channels=8,
    )
    graphdef, *weights = multiscale.initialize(architecture, dtype="float64", remat="none", seed=0)
    rng = np.random.default_rng(1)

    def moved(x):  # no bias and no mean is zero: nothing outside of an image is zero by chance
        return np.float64(x) + (rng.uniform(0.05, 0.15, x.shape) if x.ndim == 1 else 0)

    params, batch_stats = jax.tree.map(moved, weights)
    return graphdef, params, batch_stats


def images(rng):
    canvas = rng.integers(0, 256, (len(SIZES), *CANVAS, 3), np.uint8)  # noise outside, too
    return canvas, [
        image[:rows, :columns] for image, (rows, columns) in zip(canvas, SIZES, strict=True)
    ]


@pytest.mark.parametrize(("trunk", "attention", "resolution", "methods"), CASES)
def test_a_canvas_changes_no_logits(trunk, attention, resolution, methods):
    with TRUNKS.holding("least", trunk):
        graphdef, *weights = drawn(attention)
    protocols = protocol_lib.parse_all(methods)

    @jax.jit
    def predict(weights, images, sizes=None):
        outputs = protocol_lib.predict_all(
            protocols,
            graphdef,
            *weights,
            images,
            resolution=resolution,
            flip=True,
            each_scale=True,
            sizes=sizes,
        )
        return [(output.logits, output.scales) for output in outputs]

    canvas, alone = images(np.random.default_rng(0))
    together = jax.device_get(predict(weights, canvas, np.array(SIZES, np.int32)))
    expected = jax.device_get(predict(weights, alone[0][None]))
    rows, columns = SIZES[0]
    got = jax.tree.map(lambda x: x[:1, :rows, :columns], together)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()
    # What lies outside of the images has no effect at all.
    black = np.zeros_like(canvas)
    for i, image in enumerate(alone):
        black[i, : image.shape[0], : image.shape[1]] = image
    again = jax.device_get(predict(weights, black, np.array(SIZES, np.int32)))
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(again), strict=True):
        for i, (rows, columns) in enumerate(SIZES):
            inside = (i, slice(rows), slice(columns))
            np.testing.assert_array_equal(ours[inside], theirs[inside])
