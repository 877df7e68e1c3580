"""Every form of the convolution, and what it exchanges, against PyTorch's definition in numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers import convolution
from hmsa_jax.models.layers.convolution import convolve

# Kernel, stride, dilation, rows, columns: HRNet's and ResNet's, odd sizes, windows beyond the edge.
SHAPES = [
    (3, 1, 1, 8, 12),
    (3, 1, 1, 5, 7),
    (3, 2, 1, 8, 12),
    (3, 2, 1, 7, 9),
    (3, 1, 2, 6, 5),
    (3, 1, 12, 6, 5),
    (7, 2, 1, 16, 10),
    (1, 2, 1, 6, 8),
    (1, 2, 1, 7, 5),
    (3, 1, 1, 1, 1),
]

FORMS = {
    "windows": (convolution.of_windows, convolution.gradients_of_windows),
    "rows": (convolution.of_rows, convolution.gradients_of_rows),
    "products": (convolution.of_windows, convolution.gradients_by_products),
}


def numpy_convolution(x, kernel, stride, dilation):
    """Every sample of the window by itself."""
    size = len(kernel)
    padding = size // 2 * dilation
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (-(-(n - 2 * padding) // stride) for n in x.shape[1:3])
    y = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i, j in itertools.product(range(size), repeat=2):
        down, right = i * dilation, j * dilation
        samples = x[
            :, down : down + stride * rows : stride, right : right + stride * columns : stride
        ]
        y += samples[:, :rows, :columns] @ kernel[i, j]
    return y


def operands(size, stride, rows, columns):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, rows, columns, 3))
    kernel = rng.standard_normal((size, size, 3, 4))
    g = rng.standard_normal((2, -(-rows // stride), -(-columns // stride), 4))
    return x, kernel, g


@pytest.mark.parametrize(("size", "stride", "dilation", "rows", "columns"), SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_forms_and_their_gradients(form, size, stride, dilation, rows, columns):
    """The convolution is bilinear: the gradients times x and times the kernel are g times y."""
    forward, backward = FORMS[form]
    x, kernel, g = operands(size, stride, rows, columns)
    other_x, other_kernel = np.flip(x, 1).copy(), np.flip(kernel, 2).copy()
    with jax.enable_x64(True):
        y = forward(jnp.asarray(x), jnp.asarray(kernel), stride, dilation)
        gradients = backward(*map(jnp.asarray, (x, kernel, g)), stride, dilation)
        of_x, of_kernel = map(np.asarray, gradients)
    np.testing.assert_allclose(y, numpy_convolution(x, kernel, stride, dilation), atol=1e-12)
    assert of_x.shape == x.shape
    assert of_kernel.shape == kernel.shape
    for direction in (x, other_x):
        expected = (g * numpy_convolution(direction, kernel, stride, dilation)).sum()
        np.testing.assert_allclose((of_x * direction).sum(), expected, rtol=1e-10, atol=1e-10)
    for direction in (kernel, other_kernel):
        expected = (g * numpy_convolution(x, direction, stride, dilation)).sum()
        np.testing.assert_allclose((of_kernel * direction).sum(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_of_wide_features_nothing_is_written_side_by_side(monkeypatch, stride):
    """Their rows are added up in float32, and the result is the same."""
    monkeypatch.setattr(convolution, "_WIDE", 2)
    test_forms_and_their_gradients("rows", 3, stride, 1, 7, 9)
    x, kernel, _ = operands(3, stride, 7, 9)
    arguments = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    traced = jax.make_jaxpr(lambda *each: convolution.of_rows(*each, stride, 1))(*arguments)
    names = [equation.primitive.name for equation in traced.eqns]
    assert "concatenate" not in names
    sums = [e.outvars[0].aval.dtype for e in traced.eqns if "add" in e.primitive.name]
    assert sums == [jnp.float32] * 2
    expected = numpy_convolution(*(np.asarray(each, np.float64) for each in arguments), stride, 1)
    got = convolution.of_rows(*arguments, stride, 1)
    np.testing.assert_array_equal(got, jnp.asarray(expected, jnp.bfloat16))


@pytest.mark.parametrize(("size", "stride", "dilation", "rows", "columns"), SHAPES)
def test_gradients_of_whole_rows_are_those_of_rows(size, stride, dilation, rows, columns):
    """Of bfloat16, a stride and a window by a product; of anything else nothing is different."""
    x, kernel, g = (np.round(4 * a) for a in operands(size, stride, rows, columns))
    with jax.enable_x64(True):
        exact = convolution.gradients_of_rows(*map(jnp.asarray, (x, kernel, g)), stride, dilation)
    arguments = [jnp.asarray(a, jnp.bfloat16) for a in (x, kernel, g)]

    def gradients(*arguments):
        return convolution.gradients_of_rows(*arguments, stride, dilation, whole_rows=True)

    for got, expected in zip(gradients(*arguments), exact, strict=True):
        # What the rows of the window add is rounded before the sum, and the sum once more.
        largest = np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(got, np.float64), expected, atol=2**-7 * largest)
    products = [str(jax.make_jaxpr(gradients)(*each)) for each in (arguments, (x, kernel, g))]
    by_matrix = ["dot_general" in text for text in products]
    assert by_matrix == [stride > 1 and size > 1, False]


@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_every_element(form):
    x, kernel, g = operands(3, 1, 4, 5)
    with jax.enable_x64(True):
        gradients = FORMS[form][1](*map(jnp.asarray, (x, kernel, g)), 1, 1)
        of_x, of_kernel = map(np.asarray, gradients)
    for values, gradient, at in ((x, of_x, 0), (kernel, of_kernel, 1)):
        for index in np.ndindex(values.shape):
            unit = np.zeros_like(values)
            unit[index] = 1
            pair = (unit, kernel) if at == 0 else (x, unit)
            expected = (g * numpy_convolution(*pair, 1, 1)).sum()
            np.testing.assert_allclose(gradient[index], expected, atol=1e-12)


def test_both_gradients_by_rows_read_the_shifted_rows_of_g():
    """Of x, which has 3 channels, none are made again."""
    traced = jax.make_jaxpr(lambda *each: convolution.gradients_of_rows(*each, 1, 1))
    equations = traced(*operands(3, 1, 4, 5)).eqns
    shifted = [e.invars[0].aval.shape[-1] for e in equations if e.primitive.name == "pad"]
    assert shifted == [4, 4, 4]


def text_for(platform, rows_as_images):
    """The program of `convolve` and its gradients."""

    def step(x, kernel, g):
        y, backward = jax.vjp(lambda x, k: convolve(x, k, 1, 1, rows_as_images), x, kernel)
        return y, backward(g)

    kernel = jax.ShapeDtypeStruct((3, 3, 4, 4), jnp.bfloat16)
    x = jax.ShapeDtypeStruct((2, 8, 6, 4), jnp.bfloat16)
    traced = jax.jit(step).trace(x, kernel, x)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    ("platform", "rows_as_images", "merged"),
    [("tpu", True, True), ("tpu", False, False), ("cuda", True, False), ("cpu", True, False)],
)
def test_rows_become_images_on_a_tpu(platform, rows_as_images, merged):
    program = text_for(platform, rows_as_images)
    assert ("[b, 0, f]x[0, i, o]->[b, 0, f]" in program) == merged
    assert ("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in program) != merged


@pytest.mark.parametrize("rows_as_images", [True, False])
def test_on_a_cpu_the_gradient_of_a_kernel_is_one_product(rows_as_images):
    """Whether or not rows could be images."""
    counts = [
        text_for(platform, rows_as_images).count("dot_general")
        for platform in ("cpu", "cuda", "tpu")
    ]
    assert counts == [1, 0, 0]
    strided = jax.make_jaxpr(lambda *each: convolution.gradients_by_products(*each, 2, 1))
    assert str(strided(*operands(3, 2, 6, 8))).count("dot_general") == 1


def test_the_gradient_of_a_kernel_is_added_up_in_float32():
    x, kernel, g = (jnp.asarray(a, jnp.bfloat16) for a in operands(3, 1, 64, 64))
    for stride in (1, 2):
        of_y = g[:, ::stride, ::stride]
        _, got = convolution.gradients_by_products(x, kernel, of_y, stride, 1)
        wide = [a.astype(jnp.float32) for a in (x, kernel, of_y)]
        _, expected = convolution.gradients_of_windows(*wide, stride, 1)
        np.testing.assert_allclose(got.astype(np.float32), expected, rtol=2**-8, atol=1e-3)


def test_convolve_is_one_of_its_forms():
    """Forward and backward, in the dtype of its input; here, on a CPU, with products."""
    x, kernel, g = (jnp.asarray(a, jnp.bfloat16) for a in operands(3, 2, 6, 8))
    y, backward = jax.vjp(lambda x, k: convolve(x, k, 2, 1), x, kernel)
    np.testing.assert_array_equal(y, convolution.of_windows(x, kernel, 2, 1))
    of_x, of_kernel = backward(g)
    expected = convolution.gradients_by_products(x, kernel, g, 2, 1)
    jax.tree.map(np.testing.assert_array_equal, (of_x, of_kernel), expected)
    assert (y.dtype, of_x.dtype, of_kernel.dtype) == (jnp.bfloat16,) * 3
