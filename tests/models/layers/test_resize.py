import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers import resize
from hmsa_jax.models.layers.resize import resize_bilinear
from tests import other_forms
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


@pytest.mark.parametrize(("source", "target"), [size for size in SIZES if size[1] > size[0]])
def test_accelerators_enlarge_all_phases_at_once(source, target):
    """Theirs is another form of the same function, with the same gradient."""
    x, y = random((2, *source, 3)), random((2, *target, 3), seed=1)
    with other_forms.taken(resize, _phase_by_phase=resize._phases_at_once):
        got, vjp = jax.vjp(lambda x: resize_bilinear(x, target), x)
        (cotangent,) = vjp(jnp.asarray(y))
    np.testing.assert_allclose(got, numpy_reference.resize(x, target), atol=1e-5)
    np.testing.assert_allclose(cotangent, numpy_reference.resize_transposed(y, source), atol=1e-5)


def test_a_cpu_adds_up_the_gradient_of_all_phases_in_one_pass():
    def gradient(x, y):
        return jax.vjp(lambda x: resize_bilinear(x, (32, 48)), x)[1](y)

    shapes = [jax.ShapeDtypeStruct((1, *size, 3), np.float32) for size in ((8, 12), (32, 48))]
    traced = jax.jit(gradient).trace(*shapes)
    reductions = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.reduce")
        for platform in ("cpu", "cuda")
    }
    assert reductions["cpu"] == 0 < reductions["cuda"]


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


@pytest.mark.parametrize("target", [(8, 14), (16, 28), (8, 56)])
def test_matrices_for_rows_and_columns_lose_nothing(target):
    """What a TPU does where no devices share out the rows, run here."""
    x = jnp.asarray(random((2, 4, 7, 3)), jnp.bfloat16)
    y = jnp.asarray(random((2, *target, 3), seed=1), jnp.bfloat16)
    got, vjp = jax.vjp(lambda x: resize._by_matrices(x, x.shape[1:3], target), x)
    expected = numpy_reference.resize(x, target)
    np.testing.assert_array_equal(got, jnp.asarray(expected, jnp.bfloat16))
    expected = numpy_reference.resize_transposed(y, (4, 7))
    np.testing.assert_array_equal(vjp(y)[0], jnp.asarray(expected, jnp.bfloat16))


@pytest.mark.parametrize(
    ("platform", "dtype", "target", "whole_rows", "count"),
    [
        ("tpu", "float32", (16, 24), False, 1),
        ("tpu", "bfloat16", (16, 24), False, 1),
        ("tpu", "bfloat16", (16, 24), True, 2),
        ("tpu", "float32", (16, 24), True, 1),
        ("tpu", "bfloat16", (24, 36), True, 1),
        ("tpu", "bfloat16", (16, 12), True, 0),
        ("tpu", "bfloat16", (4, 6), True, 0),
        ("cpu", "bfloat16", (16, 24), True, 0),
        ("cuda", "bfloat16", (16, 24), True, 0),
    ],
)
def test_only_a_tpu_multiplies_by_matrices(platform, dtype, target, whole_rows, count):
    """Rows only if no devices share them out, and only where the product is exact."""
    x = jax.ShapeDtypeStruct((1, 8, 12, 3), dtype)
    traced = jax.jit(lambda x: resize_bilinear(x, target, whole_rows=whole_rows)).trace(x)
    assert traced.lower(lowering_platforms=(platform,)).as_text().count("dot_general") == count


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("columns", [(8192, 2048), (35_000, 70_000)])
def test_no_matrix_is_made_for_what_is_very_long(monkeypatch, dtype, columns):
    """As of a panorama in tiles, whose matrix of columns would take gigabytes."""
    made = []
    monkeypatch.setattr(
        resize,
        "_matrix",
        lambda source, target, dtype: made.append(source) or jnp.zeros((target, source)),
    )
    source, target = columns
    x = jax.ShapeDtypeStruct((1, 2, source, 1), dtype)
    jax.eval_shape(lambda x: resize_bilinear.__wrapped__(x, (4, target), whole_rows=True), x)
    assert made == []


def test_programs_hold_no_matrices_as_constants():
    """Neither those of TPUs nor, as StableHLO of all platforms has them, others."""
    x = jax.ShapeDtypeStruct((1, 128, 512, 2), "float32")
    traced = jax.jit(lambda x: resize_bilinear(x, (256, 2048))).trace(x)
    for platform in ("cpu", "tpu"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert len(text) < 100_000
