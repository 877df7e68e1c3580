import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers import EPSILON, BatchNorm, Conv, ConvBN


def conv(*channels, **options):
    return Conv(*channels, dtype=jnp.float32, rng=np.random.default_rng(0), **options)


def random(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def convolve(x, kernel, stride):
    """Sums window times kernel, one output pixel at a time."""
    size = kernel.shape[0]
    pad = size // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    y = np.zeros((x.shape[0], rows, columns, kernel.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            y[:, i, j] = np.einsum("bhwi,hwio->bo", window, kernel)
    return y


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("size", [(5, 7), (6, 8)])
def test_convolution_equals_explicit_sums(kernel, stride, size):
    layer = conv(3, 4, kernel=kernel, stride=stride, bias=True)
    layer.bias.set_value(jnp.asarray(random(4, seed=2)))
    x = random((2, *size, 3))
    expected = convolve(x, layer.kernel.get_value(), stride) + layer.bias.get_value()
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_pointwise_convolution_equals_lax():
    layer, x = conv(16, 24), random((2, 5, 7, 16))
    expected = jax.lax.conv_general_dilated(
        x, layer.kernel.get_value(), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_kernel_has_the_deviation_of_he_and_follows_the_generator():
    kernel = conv(64, 64, kernel=3).kernel.get_value()
    assert kernel.dtype == np.float32
    assert kernel.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    np.testing.assert_array_equal(kernel, conv(64, 64, kernel=3).kernel.get_value())
    assert conv(64, 64).bias is None


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


def test_conv_bn_ends_with_relu_unless_told_otherwise():
    x = random((1, 4, 4, 3))
    with_relu, without = (
        ConvBN(3, 8, relu=relu, dtype=jnp.float32, rng=np.random.default_rng(0))(x, train=True)
        for relu in (True, False)
    )
    assert without.min() < 0
    np.testing.assert_array_equal(with_relu, np.maximum(without, 0))
