import functools

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.rmi import POOLINGS, region_mutual_information
from tests.comparison import check, relative_error
from tests.fixtures.arrays import nhwc, read

# A compilation for each combination of options is what these tests cost.
value_and_grad = jax.jit(
    jax.value_and_grad(region_mutual_information), static_argnames=("radius", "pool", "pooling")
)


def run(logits, labels, dtype="float32", *, radius=3, pool=4, pooling="average"):
    """Value and gradient in `dtype`, as numpy arrays."""
    options = {"radius": radius, "pool": pool, "pooling": pooling}
    with jax.enable_x64(dtype == "float64"):
        value, gradient = value_and_grad(logits.astype(dtype), labels, **options)
    assert value.dtype == gradient.dtype == dtype
    return np.asarray(value), np.asarray(gradient)


# The definition once more, in float64 numpy.


def pooled_by_windows(x, pool, reduce):
    size = [(n + 2 * (pool // 2) - pool) // pool + 1 for n in x.shape[:2]]
    x = np.pad(x, [(pool // 2, pool // 2)] * 2)
    block = (slice(None),) * 2
    windows = np.lib.stride_tricks.sliding_window_view(x, (pool, pool))[::pool, ::pool][block]
    assert windows.shape[:2] == tuple(size)
    return reduce(windows, axis=(2, 3))


def pooled_reference(probability, label, pool, pooling):
    if pool == 1:
        return probability, label
    if pooling != "interpolate":
        reduce = {"average": np.mean, "max": np.max}[pooling]
        return tuple(pooled_by_windows(x, pool, reduce) for x in (probability, label))
    for axis, size in enumerate(label.shape):
        count = size // pool
        position = np.linspace(0, size - 1, count)
        interpolate = functools.partial(np.interp, position, np.arange(size))
        probability = np.apply_along_axis(interpolate, axis, probability)
        label = label.take([i * size // count for i in range(count)], axis)
    return probability, label


def centred_windows(x, radius):
    windows = np.lib.stride_tricks.sliding_window_view(x, (radius, radius))
    windows = windows.reshape(-1, radius**2).T
    return windows - windows.mean(1, keepdims=True)


def reference(logits, labels, radius=3, pool=4, pooling="average"):
    """Image by image and class by class, inverse and all."""
    total = 0
    classes = logits.shape[-1]
    for x, label in zip(np.float64(logits), labels, strict=True):
        for c in range(classes):
            probability = (label < classes) / (1 + np.exp(-x[..., c])) + 1e-6
            maps = pooled_reference(probability, np.float64(label == c), pool, pooling)
            pr, la = (centred_windows(m, radius) for m in maps)
            alpha = 5e-4 * np.eye(radius**2)
            a = la @ la.T - la @ pr.T @ np.linalg.inv(pr @ pr.T + alpha) @ (la @ pr.T).T
            diagonal = np.diag(np.linalg.cholesky(a + alpha))
            total += np.log(diagonal + 1e-8).sum() / radius**2
    return total / len(logits)


def a_case(size=(24, 37), classes=3, seed=0):
    """Regions with straight edges, some pixels ignored, and logits that know a part of it."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((2, *size), np.uint8)
    labels[0, : size[0] // 2, size[1] // 3 :] = 1
    labels[1, size[0] // 3 :] = 1
    labels[1] = np.where(np.add.outer(np.arange(size[0]), np.arange(size[1])) > 35, 2, labels[1])
    truth = labels[..., None] == np.arange(classes)
    logits = 3.0 * truth - 2 + rng.standard_normal(truth.shape)
    labels[:, :, :3] = 255
    labels[0, -2:] = classes
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("quantity", ["value", "grad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_pytorch(dtype, quantity, record_property):
    """The published numbers are computed in float64, but rounded to float32 for each class."""
    arrays = read("losses")
    value, gradient = run(nhwc(arrays["logits"]), arrays["labels"], dtype)
    if quantity == "value":
        check(record_property, value, arrays["rmi_only/value"], 1e-6)
    else:
        expected = 2 * arrays["rmi/f64/grad"] - arrays["bce/f64/grad"]
        tolerance = {"float32": 1e-6, "float64": 1e-7}[dtype]
        check(record_property, gradient, nhwc(expected), tolerance)


@pytest.mark.parametrize("pool", [1, 2, 4])
def test_pooled_equals_pytorch(pool, record_property):
    arrays = read("losses")
    value, _ = run(nhwc(arrays["logits"]), arrays["labels"], pool=pool)
    loss = 0.5 * arrays["bce/value"] + 0.5 * value
    check(record_property, loss, arrays[f"rmi_pool{pool}/value"], 1e-6)


def test_nothing_labelled_equals_pytorch(record_property):
    arrays = read("losses")
    labels = np.full_like(arrays["labels"], 255)
    value, gradient = run(nhwc(arrays["logits"]), labels)
    check(record_property, 0.5 * value, arrays["rmi_allignore/value"], 1e-6)
    np.testing.assert_array_equal(gradient, 0)


DEFINITIONS = [
    # radius, pool, pooling
    (1, 1, "average"),
    (2, 3, "average"),
    (4, 2, "average"),
    (3, 4, "max"),
    (2, 2, "interpolate"),
]


@pytest.mark.parametrize(("radius", "pool", "pooling"), DEFINITIONS)
def test_equals_definition(radius, pool, pooling):
    """The value, and by differences the gradient, in float64; 24 x 37 pixels do not all divide.

    The 1e-8 beside the diagonal is a matter of the windows' basis: values agree to about 1e-8.
    """
    options = {"radius": radius, "pool": pool, "pooling": pooling}
    logits, labels = a_case()
    value, gradient = run(logits, labels, "float64", **options)
    np.testing.assert_allclose(value, reference(logits, labels, **options), atol=1e-7)

    noise = np.random.default_rng(1).standard_normal(logits.shape)
    for direction in (gradient / np.linalg.norm(gradient), noise):
        step = 1e-5 * direction  # so small that hardly any maximum changes its pixel
        ahead, behind = (reference(logits + s, labels, **options) for s in (step, -step))
        slope = (gradient * direction).sum()
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("radius", "pool", "pooling"), DEFINITIONS[2:])
def test_float32_equals_float64(radius, pool, pooling, record_property):
    options = {"radius": radius, "pool": pool, "pooling": pooling}
    logits, labels = a_case()
    value, gradient = run(logits, labels, "float64", **options)
    narrow, narrow_gradient = run(logits, labels, **options)
    np.testing.assert_allclose(narrow, value, rtol=1e-6)
    check(record_property, narrow_gradient, gradient, 1e-5)


# What float32 finds hard: nearly singular covariances, and nothing left of the labels.

SIZE = (64, 96)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
STRIPES = ((ROWS + COLUMNS) // 16 % 2).astype(np.uint8)
ROWS_ONLY = (ROWS > 20).astype(np.uint8)
WAVES = 8 * np.sin((ROWS + COLUMNS) / 20)[..., None] + np.array([0, 1])
DOT = (ROWS // 4 + COLUMNS // 4 == 0).astype(np.uint8)


def noise(size, seed=0):
    return size * np.random.default_rng(seed).standard_normal((*SIZE, 2))


def toward(labels, size):
    """Logits of +-size that are right everywhere."""
    return np.stack([np.where(labels == c, size, -size) for c in (0, 1)], -1)


HARD = {
    # labels, logits, tolerance of the gradient
    "diagonal edges, untrained": (STRIPES, noise(0.1), 1e-5),
    "diagonal edges, diagonal waves": (STRIPES, WAVES, 1e-5),
    "diagonal edges, right and saturated": (STRIPES, toward(STRIPES, 15) + noise(1), 1e-5),
    "rows, untrained": (ROWS_ONLY, noise(0.1), 1e-5),
    "rows, right": (ROWS_ONLY, toward(ROWS_ONLY, 9) + noise(1), 1e-5),
    "dot, right": (DOT, toward(DOT, 9) + noise(1), 1e-5),
    # Of the surroundings float32 knows a probability of nearly 1 to 6e-8, but it varies by little.
    "dot, untrained": (DOT, noise(0.1) + np.array([-5, 5]), 1e-4),
    "dot, missed": (DOT, noise(0.1) + np.array([-12, 12]), 1e-3),
}


@pytest.mark.parametrize("name", HARD)
def test_float32_suffices(name, record_property):
    labels, logits, tolerance = HARD[name]
    labels, logits = (np.stack([x, x[::-1]]) for x in (labels, np.float32(logits)))
    value, gradient = run(logits, labels, "float64")
    np.testing.assert_allclose(value, reference(logits, labels), atol=1e-6)
    narrow, narrow_gradient = run(logits, labels)
    np.testing.assert_allclose(narrow, value, rtol=1e-6, atol=1e-6)
    check(record_property, narrow_gradient, gradient, tolerance)


SPECIAL = {
    "one image ignored": (np.stack([STRIPES, np.full_like(STRIPES, 255)]), noise(1)),
    "all ignored": (np.full((2, *SIZE), 2, np.uint8), noise(1)),
    "a class absent": (np.ones((2, *SIZE), np.uint8), noise(1)),
    "nothing varies": (np.ones((2, *SIZE), np.uint8), np.zeros((*SIZE, 2))),
    "constant logits": (np.stack([STRIPES, ROWS_ONLY]), np.full((*SIZE, 2), [-1.0, 0.5])),
    "perfect": (np.stack([STRIPES, STRIPES]), toward(STRIPES, 1e4)),
    "entirely wrong": (np.stack([STRIPES, STRIPES]), -toward(STRIPES, 1e4)),
    "saturated": (np.stack([STRIPES, ROWS_ONLY]), 1e4 * np.sign(noise(1))),
    "as large as float32": (np.stack([STRIPES, ROWS_ONLY]), 3e38 * np.sign(noise(1))),
}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", SPECIAL)
def test_special_cases_are_finite(name, pooling):
    labels, logits = SPECIAL[name]
    logits = np.float32(np.broadcast_to(logits, (2, *SIZE, 2)))
    value, gradient = run(logits, labels, pooling=pooling)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[labels >= 2], 0)
    with np.errstate(over="ignore"):
        expected = reference(logits, labels, pooling=pooling)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_better_predictions_cost_less():
    labels = np.stack([STRIPES, ROWS_ONLY])
    right = np.stack([toward(STRIPES, 1), toward(ROWS_ONLY, 1)])
    values = [run(np.float32(noise(1) + better * right), labels)[0] for better in range(4)]
    assert (np.diff(values) < 0).all()


def test_other_types_are_computed_in_float32():
    logits = jax.ShapeDtypeStruct((1, 16, 16, 2), jax.numpy.bfloat16)
    labels = jax.ShapeDtypeStruct((1, 16, 16), np.int32)
    value, gradient = jax.eval_shape(value_and_grad, logits, labels)
    assert value.dtype == np.float32
    assert gradient.dtype == logits.dtype


def test_sharded_equals_unsharded():
    """Batch over 4 devices, rows over 2: unequally, 17 of them after pooling."""
    rng, rows = np.random.default_rng(0), 64
    logits = 2 * rng.standard_normal((4, rows, 32, 3))
    labels = (np.cumsum(rng.standard_normal((4, rows, 32)), 1) > 0).astype(np.uint8)
    labels[0, :30] = 255
    expected = run(logits, labels, "float64")
    with jax.enable_x64(True):
        shares = NamedSharding(sharding.make_mesh(4, 2), PartitionSpec("data", "spatial"))
        batch = jax.device_put((logits, labels), shares)
        compiled = value_and_grad.lower(*batch).compile()
        got = compiled(*batch)
    assert got[1].sharding.is_equivalent_to(shares, 4)
    for a, b in zip(got, expected, strict=True):
        assert relative_error(a, b) < 1e-9
    # Neighbours exchange rows, nobody gathers the image.
    assert f"f64[1,{rows // 2},32,3]" in compiled.as_text()
    assert f"f64[1,{rows},32,3]" not in compiled.as_text()


def test_unusable_options_are_refused():
    logits, labels = a_case()
    with pytest.raises(ValueError, match=r"pooling is 'mean'; expected one of average, max"):
        region_mutual_information(logits, labels, pooling="mean")
    with pytest.raises(ValueError, match=r"pool is 0 and radius 3; both must be at least 1"):
        region_mutual_information(logits, labels, pool=0)
    with pytest.raises(ValueError, match=r"pool is 4 and radius 0"):
        region_mutual_information(logits, labels, radius=0)


@pytest.mark.parametrize(
    ("rows", "pooling", "pooled"), [(7, "average", 2), (7, "max", 2), (11, "interpolate", 2)]
)
def test_image_smaller_than_a_window_is_refused(rows, pooling, pooled):
    logits, labels = np.zeros((1, rows, 40, 3), np.float32), np.zeros((1, rows, 40), np.uint8)
    message = rf"{rows} x 40 pixels are {pooled} x \d+ after pooling by 4.*use a larger crop"
    with pytest.raises(ValueError, match=message):
        region_mutual_information(logits, labels, pooling=pooling)


def test_smallest_image():
    logits, labels = a_case((8, 8), classes=2)
    value, gradient = run(logits, labels)
    np.testing.assert_allclose(value, reference(logits, labels), rtol=1e-5)
    assert np.isfinite(gradient).all()
