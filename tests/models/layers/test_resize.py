import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers import resize
from hmsa_jax.models.layers.resize import resize_bilinear
from tests.fixtures.arrays import nhwc, read
from tests.models import numpy_reference

SIZES = [
    # source, target
    ((5, 7), (10, 21)),
    ((5, 7), (20, 56)),
    ((1, 6), (4, 6)),
    ((8, 12), (4, 4)),
    ((8, 12), (2, 12)),
    ((9, 16), (3, 2)),
    ((12, 6), (6, 12)),
    ((13, 21), (9, 15)),
    ((6, 9), (11, 13)),
    ((17, 25), (5, 7)),
    ((3, 1), (7, 5)),
]


def random(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("name", ["0.25", "0.5", "0.75", "1.5", "2.0", "7x9"])
def test_equals_pytorch(name):
    arrays = read("losses")
    expected = nhwc(arrays[f"resize/{name}"])
    got = resize_bilinear(nhwc(arrays["resize/x"]), expected.shape[1:3])
    np.testing.assert_allclose(got, expected, atol=1e-5)  # PyTorch's positions are float32


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_equals_interpolation_matrices_and_so_does_the_gradient(source, target):
    x, y = random((2, *source, 3)), random((2, *target, 3), seed=1)
    got, vjp = jax.vjp(lambda x: resize_bilinear(x, target), x)
    np.testing.assert_allclose(got, numpy_reference.resize(x, target), atol=1e-5)
    (cotangent,) = vjp(jnp.asarray(y))
    np.testing.assert_allclose(cotangent, numpy_reference.resize_transposed(y, source), atol=1e-5)


def test_same_size_is_untouched():
    x = random((1, 5, 6, 2))
    np.testing.assert_array_equal(resize_bilinear(x, (5, 6)), x)


@pytest.mark.parametrize("target", [(10, 14), (7, 4)])
def test_bfloat16_is_interpolated_in_float32(target):
    x = jnp.asarray(random((1, 5, 7, 3)), jnp.bfloat16)
    got = resize_bilinear(x, target)
    assert got.dtype == jnp.bfloat16
    in_float32 = resize_bilinear(x.astype(jnp.float32), target)
    np.testing.assert_array_equal(got, in_float32.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("target", "gathers"), [((16, 24), False), ((4, 6), False), ((12, 18), True)]
)
def test_integer_factors_need_no_gather(target, gathers):
    jaxpr = jax.make_jaxpr(lambda x: resize_bilinear(x, target))(random((1, 8, 12, 3)))
    assert ("gather" in str(jaxpr)) == gathers


@pytest.mark.parametrize(("source", "target"), [(7, 28), (12, 24), (5, 13), (6, 9)])
def test_matrix_for_columns_does_the_same(source, target):
    """What a TPU does, run here."""
    x, y = random((2, 4, source, 3)), random((2, 4, target, 3), seed=1)
    got, vjp = jax.vjp(lambda x: resize._multiply(x, target), x)
    np.testing.assert_allclose(got, numpy_reference.resize(x, (4, target)), atol=1e-5)
    expected = numpy_reference.resize_transposed(y, (4, source))
    np.testing.assert_allclose(vjp(jnp.asarray(y))[0], expected, atol=1e-5)


def test_only_a_tpu_and_only_columns_are_multiplied_by_a_matrix():
    def products(platform, target):
        traced = jax.jit(lambda x: resize_bilinear(x, target)).trace(random((1, 8, 12, 3)))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        return text.count("dot_general")

    assert products("tpu", (16, 24)) == 1
    assert products("tpu", (16, 12)) == 0
    assert products("tpu", (4, 6)) == 0
    assert products("cpu", (16, 24)) == products("cuda", (16, 24)) == 0
