"""Tiles: one that holds a whole image, and several of a network that sees no further."""

import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference import tiles
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.inference.tile_grid import Axis
from hmsa_jax.inference.tiles import TiledPredictor
from hmsa_jax.models import multiscale

CLASSES = 4
TOLERANCE = 1e-11


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    def normalized(images):  # it is float32 otherwise
        return images.astype("float64") / 64 - 2

    for module in (protocol_lib, tiles):
        monkeypatch.setattr(module, "normalize", normalized)
    with jax.enable_x64(True):
        yield


def drawn(trunk, method, resolution, *, flip=True):
    architecture = multiscale.Architecture(
        trunk, CLASSES, ocr_channels=16, ocr_key_channels=8, head_channels=8
    )
    graphdef, *weights = multiscale.initialize(architecture, dtype="float64", remat="none", seed=0)
    rng = np.random.default_rng(1)

    def moved(x):
        return np.float64(x) + (rng.uniform(0.05, 0.15, x.shape) if x.ndim == 1 else 0)

    mesh = sharding.make_mesh(2, 1, jax.devices()[:2])
    ways = protocol_lib.parse_all([method])
    predictor = Predictor(graphdef, mesh, ways, resolution, flip, each_scale=True)
    return predictor, jax.tree.map(moved, weights)


def all_of_it(outputs, batch):
    (output,) = outputs
    return output.logits, output.scales


def untiled(predictor, weights, image):
    step = predictor.step(all_of_it, sharding.whole_images(predictor.mesh))
    summary, _ = jax.device_get(step(*weights, {"image": np.stack([image, image])}))
    return jax.tree.map(lambda x: x[0], summary)


def tiled(predictor, weights, image, side):
    weights = jax.device_put(weights, sharding.replicated(predictor.mesh))
    network = TiledPredictor(predictor, *weights, all_of_it, side=side, tiles_per_device=1)
    return network.predict("image", image)


def assert_equal(got, expected):
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize(
    ("method", "resolution", "rows"),
    [
        ("hierarchical:0.5,1,1.5", "image", 75),
        ("average:0.5,1", "features", 75),
        ("single", "features", 9),  # whose map has 3 rows, as one of 12 has, too
    ],
)
def test_an_image_within_a_tile_is_predicted_as_without(
    short_trunk, monkeypatch, method, resolution, rows
):
    monkeypatch.setattr(tiles, "_STRIP", 61 * 17)
    predictor, weights = drawn("short", method, resolution)
    image = np.random.default_rng(0).integers(0, 256, (rows, 61, 3), np.uint8)
    assert_equal(tiled(predictor, weights, image, 128), untiled(predictor, weights, image))


def test_tiles_leave_no_seam_where_the_network_sees_no_further(short_trunk):
    predictor, weights = drawn("short", "hierarchical:0.5,1", "features", flip=False)
    # Without the context of regions, which is of the whole tile, a pixel depends on few others.
    weights[0]["decoder"]["up"]["bn"]["scale"][:] = 0
    image = np.random.default_rng(0).integers(0, 256, (701, 570, 3), np.uint8)
    assert_equal(tiled(predictor, weights, image, 512), untiled(predictor, weights, image))


@pytest.mark.parametrize("scaled", [100, 512, 513, 900, 4001])
def test_windows_of_all_tiles_sum_to_one(scaled):
    axis = Axis(777, scaled, 512)
    total = np.zeros(-(-scaled // 4) + 128)
    for tile, start in enumerate(axis.starts):
        assert start % 32 == 0
        total[start // 4 :][:128] += axis.window(tile, 128)
    np.testing.assert_allclose(total[: -(-scaled // 4)], 1, rtol=1e-6)
    assert axis.starts[-1] + 512 >= scaled
    shared = np.add(axis.starts[:-1], 512) - axis.starts[1:]
    assert (shared >= 128).all()
