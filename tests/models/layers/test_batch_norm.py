"""BatchNorm against plain numpy: a batch, groups of a batch, on one device and on eight."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hmsa_jax.distributed.sharding import make_mesh
from hmsa_jax.models.layers.batch_norm import EPSILON, BatchNorm, normalize, normalize_batch

BATCH = 8


def random(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def normalise(x, mean, var, scale, bias):
    return (x - mean) / np.sqrt(var + EPSILON) * scale + bias


@pytest.fixture
def batch_norm():
    layer = BatchNorm(5, dtype=jnp.float32)
    rng = np.random.default_rng(3)
    layer.scale.set_value(jnp.asarray(rng.uniform(0.5, 2, 5), jnp.float32))
    layer.bias.set_value(jnp.asarray(rng.normal(size=5), jnp.float32))
    return layer


def test_batch_norm_in_training_uses_and_remembers_the_batch(batch_norm):
    scale, bias = batch_norm.scale.get_value(), batch_norm.bias.get_value()
    running_mean, running_var = np.zeros(5), np.ones(5)
    for seed in range(3):
        x = 1 + 2 * random((2, 4, 6, 5), seed)
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        y = batch_norm(x, train=True)
        np.testing.assert_allclose(y, normalise(x, mean, var, scale, bias), atol=1e-5)
        # The running variance is of the unbiased kind, as in the published implementation.
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_var = 0.9 * running_var + 0.1 * x.var((0, 1, 2), ddof=1)
        np.testing.assert_allclose(batch_norm.mean.get_value(), running_mean, rtol=1e-5)
        np.testing.assert_allclose(batch_norm.var.get_value(), running_var, rtol=1e-5)


def test_batch_norm_in_evaluation_uses_the_running_statistics_and_leaves_them(batch_norm):
    mean, var = random(5), np.float32([0.3, 1, 2, 5, 0])
    batch_norm.mean.set_value(jnp.asarray(mean))
    batch_norm.var.set_value(jnp.asarray(var))
    x = 1 + 2 * random((2, 4, 6, 5))
    y = batch_norm(x, train=False)
    expected = normalise(x, mean, var, batch_norm.scale.get_value(), batch_norm.bias.get_value())
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(batch_norm.mean.get_value(), mean)
    np.testing.assert_array_equal(batch_norm.var.get_value(), var)


def test_batch_norm_of_bfloat16_keeps_its_statistics_in_float32():
    layer = BatchNorm(5, dtype=jnp.bfloat16)
    x = jnp.asarray(3 + random((2, 16, 16, 5)), jnp.bfloat16)
    y = layer(x, train=True)
    assert y.dtype == jnp.bfloat16
    wide = np.asarray(x, np.float64)
    mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2), ddof=1)
    assert layer.mean.get_value().dtype == layer.var.get_value().dtype == jnp.float32
    np.testing.assert_allclose(layer.mean.get_value(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.var.get_value(), 0.9 + 0.1 * var, rtol=1e-5)
    # Rounded once, at the very end: bfloat16 has 8 bits.
    expected = (wide - mean) / np.sqrt(wide.var((0, 1, 2)) + EPSILON)
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8, atol=1e-4)


def groups_of(x, group):
    """Normalised values of each group, its mean and its unbiased variance, one after the other."""
    parts = [x[i : i + group] for i in range(0, len(x), group)]
    axes = (0, 1, 2)
    normalised = [normalise(p, p.mean(axes), p.var(axes), 1, 0) for p in parts]
    means = [p.mean(axes) for p in parts]
    return (
        np.concatenate(normalised),
        np.array(means),
        np.array([p.var(axes, ddof=1) for p in parts]),
    )


def different_images(channels=3):
    """`[BATCH, 4, 6, channels]` float64: images so different that it matters who is with whom."""
    rng = np.random.default_rng(0)
    shape = (BATCH, 1, 1, channels)
    deviation, mean = rng.uniform(0.5, 3, shape), 2 * rng.standard_normal(shape)
    return mean + deviation * rng.standard_normal((BATCH, 4, 6, channels))


def values_of(channels=3):
    """Running mean, running variance, scale and bias, float64."""
    rng = np.random.default_rng(1)
    return (
        rng.standard_normal(channels),
        rng.uniform(0.5, 2, channels),
        rng.uniform(0.5, 2, channels),
        rng.standard_normal(channels),
    )


@pytest.mark.parametrize("group", [1, 2, 4, BATCH])
@pytest.mark.parametrize("mesh_shape", [(1, 1), (8, 1), (4, 2), (2, 4)])
def test_groups_equal_numpy_on_every_mesh(group, mesh_shape):
    """Batch and rows over the devices: a group is a part of a device's images, or many devices'."""
    x, values = different_images(), values_of()
    running_mean, running_var, scale, bias = values
    normalised, means, variances = groups_of(x, group)
    mesh = make_mesh(*mesh_shape, jax.devices()[: mesh_shape[0] * mesh_shape[1]])
    with jax.enable_x64(True):
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", "spatial")))
        y, mean, var = normalize_batch(sharded, *values, group, jnp.dtype("float64"), mesh_shape)
    np.testing.assert_allclose(y, normalised * scale + bias, rtol=1e-10, atol=1e-10)
    # The running statistics move by the means over the groups.
    np.testing.assert_allclose(mean, 0.9 * running_mean + 0.1 * means.mean(0), rtol=1e-12)
    np.testing.assert_allclose(var, 0.9 * running_var + 0.1 * variances.mean(0), rtol=1e-12)


@pytest.mark.parametrize("group", [1, 2, 4, BATCH])
def test_gradients_of_groups_equal_difference_quotients(group):
    x, (*running, scale, bias) = different_images(), values_of()
    rng = np.random.default_rng(2)
    arguments = (x, scale, bias)
    weights, *directions = (rng.standard_normal(a.shape) for a in (x, *arguments))

    def by_numpy(step):
        x, scale, bias = (a + step * d for a, d in zip(arguments, directions, strict=True))
        return (weights * np.tanh(groups_of(x, group)[0] * scale + bias)).sum()

    def loss(x, scale, bias):
        y, *_ = normalize_batch(x, *running, scale, bias, group, jnp.dtype("float64"))
        return (weights * jnp.tanh(y)).sum()

    with jax.enable_x64(True):
        gradients = jax.grad(loss, (0, 1, 2))(*arguments)
    slope = sum((np.asarray(g) * d).sum() for g, d in zip(gradients, directions, strict=True))
    step = 1e-5
    quotient = (by_numpy(step) - by_numpy(-step)) / (2 * step)
    np.testing.assert_allclose(slope, quotient, rtol=1e-7)


def collectives(group, mesh_shape, backward=False):
    """How many of each kind normalising takes; the running statistics are left out."""
    mesh = make_mesh(*mesh_shape, jax.devices()[: mesh_shape[0] * mesh_shape[1]])
    batch = NamedSharding(mesh, PartitionSpec("data", "spatial"))

    def normalised(x):
        return normalize_batch(x, *values_of(), group, jnp.dtype("float32"), mesh_shape)[0]

    def gradient(x, g):
        return jax.vjp(normalised, x)[1](g)[0]

    x = jax.ShapeDtypeStruct((BATCH, 4, 6, 3), jnp.float32)
    function, arguments = (gradient, (x, x)) if backward else (normalised, (x,))
    program = jax.jit(function, in_shardings=batch, out_shardings=batch)
    program = program.lower(*arguments).compile()
    kinds = r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    return re.findall(kinds, program.as_text())


def test_groups_of_one_device_need_no_other():
    assert collectives(group=2, mesh_shape=(4, 1)) == []
    assert collectives(group=1, mesh_shape=(4, 1)) == []
    assert collectives(group=2, mesh_shape=(4, 2)) == ["all-reduce"]  # over the rows


def test_bigger_groups_exchange_sums_and_no_images():
    """All moments travel together, over both axes of the mesh at once."""
    for group in (4, BATCH):
        assert collectives(group, mesh_shape=(8, 1)) == ["all-reduce"]
        assert collectives(group, mesh_shape=(4, 2)) == ["all-reduce"]


def test_a_gradient_exchanges_sums_once_more():
    assert collectives(BATCH, mesh_shape=(8, 1), backward=True) == ["all-reduce"] * 2
    assert collectives(group=2, mesh_shape=(4, 1), backward=True) == []


@pytest.mark.parametrize("ratio", [1, 100, 1000])
@pytest.mark.parametrize(("group", "mesh_shape"), [(BATCH, (1, 1)), (2, (4, 2)), (BATCH, (4, 2))])
def test_a_mean_far_from_zero_costs_no_digits(ratio, group, mesh_shape):
    """In float32 and from the first step on, when the running mean is still 0."""
    rng = np.random.default_rng(4)
    x = rng.standard_normal((BATCH, 32, 32, 3)) + ratio * np.float64([1, -1, 0.7])
    x = x.astype(np.float32)
    normalised, means, variances = groups_of(x.astype(np.float64), group)
    mesh = make_mesh(*mesh_shape, jax.devices()[: mesh_shape[0] * mesh_shape[1]])
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", "spatial")))
    first = (np.zeros(3, np.float32), np.ones(3, np.float32))  # running mean and variance
    values = (*first, np.ones(3, np.float32), np.zeros(3, np.float32))
    y, mean, var = normalize_batch(sharded, *values, group, jnp.dtype("float32"), mesh_shape)
    np.testing.assert_allclose(y, normalised, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mean, 0.1 * means.mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, 0.9 + 0.1 * variances.mean(0), rtol=1e-6)
    running = (means.mean(0).astype(np.float32), variances.mean(0).astype(np.float32))
    y = normalize(x, *running, *values[2:], jnp.dtype("float32"))
    expected = normalise(x.astype(np.float64), *running, 1, 0)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ratio", [1, 16, 128])
@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("group", "mesh_shape"), [(BATCH, (1, 1)), (BATCH, (4, 2)), (2, (4, 2))])
def test_bfloat16_loses_less_in_one_read_than_rounding_lost(ratio, is_first, group, mesh_shape):
    """From the first step on; and next to nothing once the running mean is near."""
    rng = np.random.default_rng(6)
    mean = ratio * np.float64([1, -1, 0.7])
    exact = rng.standard_normal((BATCH, 32, 32, 3)) + mean
    x = jnp.asarray(exact, jnp.bfloat16)
    rounded = np.asarray(x, np.float64)
    normalised, means, variances = groups_of(rounded, group)
    lost = np.abs(variances / groups_of(exact, group)[2] - 1).max()
    bound = lost if is_first else 1e-6
    running_mean = 0 * mean if is_first else mean + 0.3
    values = (running_mean, np.ones(3), np.ones(3), np.zeros(3))
    values = [np.float32(v) for v in values]
    mesh = make_mesh(*mesh_shape, jax.devices()[: mesh_shape[0] * mesh_shape[1]])
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", "spatial")))

    def normalise_in(dtype):
        own = [v.astype(dtype) for v in values]
        return lambda x: normalize_batch(x, *own, group, jnp.dtype(dtype), mesh_shape)

    y, moved_mean, moved_var = normalise_in("float32")(sharded)
    np.testing.assert_allclose(moved_mean, 0.9 * running_mean + 0.1 * means.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moved_var - 0.9, 0.1 * variances.mean(0), rtol=bound + 1e-5)
    np.testing.assert_allclose(y, normalised, rtol=bound, atol=1e-5 * (ratio if is_first else 1))
    g = rng.standard_normal(x.shape).astype(np.float32)
    (gradient,) = jax.vjp(lambda x: normalise_in("float32")(x)[0], sharded)[1](jnp.asarray(g))
    with jax.enable_x64(True):
        pull = jax.vjp(lambda x: normalise_in("float64")(x)[0], rounded)[1]
        (expected,) = pull(np.float64(g))
    off = np.abs(np.asarray(gradient).astype(np.float64) - expected).max() / np.abs(expected).max()
    assert off < bound + 2**-8


def test_gradients_keep_their_digits_too():
    rng = np.random.default_rng(5)
    x, g = rng.standard_normal((2, BATCH, 32, 32, 3)).astype(np.float32)
    x = x + np.float32(1000)
    ones, zeros = np.ones(3), np.zeros(3)

    def gradients(dtype):
        scale, bias = ones.astype(dtype), zeros.astype(dtype)

        def run(x, scale, bias):
            return normalize_batch(x, zeros, ones, scale, bias, BATCH, jnp.dtype(dtype))[0]

        return jax.vjp(run, x.astype(dtype), scale, bias)[1](g.astype(dtype))

    got = gradients(np.float32)
    with jax.enable_x64(True):
        expected = gradients(np.float64)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
