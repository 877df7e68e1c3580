import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers.conv import Conv, ConvBN
from hmsa_jax.models.layers.layer import Layer


def layer():
    return Layer(jnp.dtype("float32"), np.random.default_rng(0))


def conv(*channels, **options):
    return Conv(*channels, layer(), **options)


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


def test_conv_bn_ends_with_relu_unless_told_otherwise():
    x = random((1, 4, 4, 3))
    with_relu, without = (ConvBN(3, 8, layer(), relu=relu)(x, train=True) for relu in (True, False))
    assert without.min() < 0
    np.testing.assert_array_equal(with_relu, np.maximum(without, 0))


@pytest.mark.parametrize(
    ("features_by_rows", "channels", "dilation", "merged"),
    [
        ("all", 512, 1, True),
        ("narrow", 64, 1, True),
        ("narrow", 96, 1, False),
        ("none", 48, 1, False),
        ("all", 512, 12, False),
    ],
)
def test_which_convolutions_have_rows_as_images_on_a_tpu(
    features_by_rows, channels, dilation, merged
):
    convolution = conv(channels, 4, kernel=3, dilation=dilation)
    convolution.features_by_rows = features_by_rows
    x = jax.ShapeDtypeStruct((2, 8, 6, channels), jnp.float32)
    program = jax.jit(convolution).trace(x).lower(lowering_platforms=("tpu",)).as_text()
    assert (f"tensor<16x6x{3 * channels}xf32>" in program) == merged
