"""The highest scale through a window, beside what plain numpy makes of the same network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference import window
from hmsa_jax.inference.window import WindowAxis, window_length
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.canvas import Canvas
from tests import short_network
from tests.models import numpy_reference

PERCENT, SIZE, SCALED, WINDOW = 30, (95, 128), (190, 256), (96, 128)
SCALES = (0.5, 1.0, 2.0)


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    monkeypatch.setattr(protocol_lib, "normalize", normalized)
    with jax.enable_x64(True):
        yield


def normalized(images):  # it is float32 otherwise
    return images.astype("float64") / 64 - 2


def drawn():
    graphdef, *weights = short_network.drawn(3, "float64")
    return graphdef, jax.tree.map(np.float64, weights)


def test_a_window_has_as_many_percent_of_the_pixels():
    """Lengths are multiples of 32, and no window is longer than its image."""
    for percent in (1, 10, 25, 50, 75, 99):
        lengths = [window_length(n, percent) for n in range(1, 4097)]
        assert all(w % 32 == 0 or w == n for n, w in enumerate(lengths, 1))
        assert all(1 <= w <= n for n, w in enumerate(lengths, 1))
        assert lengths == sorted(lengths)
    for percent in range(10, 100):
        found = window_length(2048, percent) * window_length(4096, percent) / (2048 * 4096)
        assert abs(100 * found - percent) < 2


def test_windows_may_start_everywhere_up_to_the_end_of_the_image():
    lengths = jnp.array([20, 90, 200], jnp.int32)
    axis = WindowAxis.of(224, lengths, 25, 3)
    assert (axis.side, axis.count) == (128, 5)  # 200 x 0.5 rounds to 96, 224 x 0.5 to 128
    assert axis.windows.tolist() == [20, 32, 96]
    starts = [[0] * 5, [0, 32, 60, 60, 60], [0, 32, 64, 96, 104]]
    assert axis.starts.tolist() == starts
    assert axis.ends[1].tolist() == [32, 64, 90, 90, 90]  # heads have a feature from 60 on
    assert not axis.is_filled
    assert WindowAxis.of(224, None, 25, 3).is_filled
    assert not WindowAxis.of(222, None, 25, 3).is_filled


def test_the_window_is_where_the_need_is_largest():
    rng = np.random.default_rng(0)
    need = rng.uniform(size=(4, 24, 32))
    need[3] = 1  # all windows are alike
    axes = [WindowAxis.of(4 * n, None, PERCENT, 4) for n in need.shape[1:]]
    found = window.choose(*axes, jnp.asarray(need), Canvas((24, 32)))
    for i, x in enumerate(need):
        starts = [(r, c) for r in (0, 32) for c in (0, 32, 64)]
        sums = [x[r // 4 : r // 4 + 16, c // 4 : c // 4 + 16].sum() for r, c in starts]
        assert [int(axis.starts[i]) for axis in found] == [*starts[int(np.argmax(sums))]]


def rise(distance):
    t = np.clip((distance - 4) / 16, 0, 1)
    return t * t * (3 - 2 * t)


def composed(weights, outputs, graphdef, image):
    """The logits, and the coverage, by numpy, from what the network says of the two lower scales.

    Where the network looks at the window, it sees an image that ends where the window does.
    """
    low, middle = (jax.tree.map(np.asarray, outputs[scale]) for scale in (0.5, 1.0))
    grid = middle.attention.shape[1:3]
    lesser = numpy_reference.resize(low.attention, grid)
    share = ((1 - middle.attention) * (1 - lesser))[0, ..., 0]
    centres = [(np.arange(n) + 0.5) * s / n for n, s in zip(grid, SCALED, strict=True)]
    best, place = -1.0, (0, 0)
    for top in (0, 32, 64, 96):
        for left in range(0, 129, 32):
            in_rows = (centres[0] >= top) & (centres[0] < min(top + 96, 190))
            in_columns = (centres[1] >= left) & (centres[1] < left + 128)
            sum_ = share[np.ix_(in_rows, in_columns)].sum()
            if sum_ > best:
                best, place = sum_, (top, left)
    top, left = place
    scaled = numpy_reference.resize(normalized(image), SCALED)
    crop = scaled[:, top : top + 96, left : left + 128]
    seen, _ = multiscale.apply(graphdef, *weights, crop, (1.0,), train=False)
    said = np.asarray(seen[1.0].logits)
    whole, coverage = np.zeros((1, 48, 64, 3)), np.zeros((1, 48, 64, 1))
    rows, columns = np.arange(said.shape[1]) * 4 + 2.0, np.arange(said.shape[2]) * 4 + 2.0
    of_rows = rise(rows) if top else np.ones(len(rows))
    of_rows = of_rows * (rise(crop.shape[1] - rows) if top + 96 < 190 else 1)
    of_columns = rise(columns) if left else np.ones(len(columns))
    of_columns = of_columns * (rise(128 - columns) if left + 128 < 256 else 1)
    of_window = of_rows[:, None, None] * of_columns[None, :, None]
    there = (0, slice(top // 4, top // 4 + len(rows)), slice(left // 4, left // 4 + len(columns)))
    whole[there], coverage[there] = said[0] * of_window, of_window

    def up(x):
        return numpy_reference.resize(x, SIZE)

    covered, a = up(coverage), up(middle.attention)
    product = up(middle.attention * middle.logits)
    chain = covered * product + (1 - a) * up(whole) + (1 - covered) * up(middle.logits)
    a = up(low.attention)
    return up(low.attention * low.logits) + (1 - a) * chain, covered


@pytest.mark.usefixtures("short_trunk")
def test_it_is_what_numpy_makes_of_lower_scales_and_window():
    """Of an image whose window ends with it, and of its mirror image."""
    graphdef, weights = drawn()
    images = np.random.default_rng(5).integers(0, 256, (2, *SIZE, 3), np.uint8)
    (way,) = protocol_lib.parse_all([f"hierarchical:0.5,1,2@{PERCENT}%"])

    def predict(weights, images, flip):
        (output,) = protocol_lib.predict_all(
            (way,), graphdef, *weights, images, resolution="features", flip=flip, each_scale=True
        )
        return output

    got = jax.jit(predict, static_argnames="flip")(weights, images, flip=False)
    lower = jax.jit(
        lambda images: multiscale.apply(
            graphdef, *weights, normalized(images), SCALES[:2], train=False
        )[0]
    )
    views = {}
    for i in range(2):
        for mirrored in (False, True):
            image = images[i : i + 1, :, :: -1 if mirrored else 1]
            views[i, mirrored] = composed(weights, lower(image), graphdef, image)
        expected, covered = views[i, False]
        np.testing.assert_allclose(got.logits[i], expected[0], rtol=0, atol=1e-9)
        assert 0 < (covered == 0).mean() < 1
        shares = got.scales.weights
        np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-9)
        assert not shares[2.0][i][covered[0] == 0].any()
        # What stands for the highest scale where it was not seen is the one below.
        unseen = (covered[0] == 0)[..., 0]
        high, middle = (got.scales.logits[scale][i] for scale in (2.0, 1.0))
        np.testing.assert_array_equal(high[unseen], middle[unseen])
    both = jax.jit(predict, static_argnames="flip")(weights, images, flip=True)
    for i in range(2):
        mean = (views[i, False][0] + views[i, True][0][:, :, ::-1]) / 2
        np.testing.assert_allclose(both.logits[i], mean[0], rtol=0, atol=1e-9)


@pytest.mark.usefixtures("short_trunk")
def test_a_window_as_large_as_the_image_changes_nothing():
    """Images so small that they have but one window; and 100 % is the chain itself."""
    graphdef, weights = drawn()
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 14, 3), np.uint8)
    whole = protocol_lib.parse("hierarchical:0.5,1,2")
    assert protocol_lib.parse("hierarchical:0.5,1,2@100%") == whole
    ways = (whole, protocol_lib.parse("hierarchical:0.5,1,2@60%"))

    @jax.jit
    def predict(weights, images):
        return protocol_lib.predict_all(
            ways, graphdef, *weights, images, resolution="image", flip=False, each_scale=True
        )

    expected, got = jax.device_get(predict(weights, images))
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
