"""A convolution and its gradients, in the form that each kind of device is fast at.

A TPU is fast where many images are small: it tiles channels and images, and one large image leaves
tiles empty, or is first cut up and copied. There every row becomes an image of its own, with the
rows of its window side by side in the channels, and the window has columns only: the same products.
Where the channels fill the tiles by themselves, there is a convolution for each row of the window
instead. docs/results/tpu_speed.md has the measurements.

A CPU is fast at matrix products. The gradient of the kernel is a convolution whose window is the
whole image, at which it is slow, or one product: docs/results/pytorch_cpu.md.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.models.layers.materialization import materialize

_ROWS, _COLUMNS = 1, 2
_WIDE = 512  # channels; of more, rows side by side take longer to write than they save


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def convolve(
    x: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    dilation: int = 1,
    rows_as_images: bool = True,
    whole_rows: bool = False,
) -> jax.Array:
    """Convolves, padded so that stride 1 keeps the size and stride 2 halves it (up).

    Args:
      x: `[B, H, W, C]`.
      kernel: `[k, k, C, D]` in the dtype of `x`, k odd.
      stride: step of the window.
      dilation: distance between the samples of the window.
      rows_as_images: whether rows may become images. Not where devices share out the rows and have
        several images each: those rows would have to be gathered.
      whole_rows: whether no devices share out the rows.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), D]` in the dtype of `x`.
    """
    return _forward(x, kernel, stride, dilation, rows_as_images)


def _forward_and_residuals(x, kernel, stride, dilation, rows_as_images, whole_rows):
    return _forward(x, kernel, stride, dilation, rows_as_images), (x, kernel)


def _gradients(stride, dilation, rows_as_images, whole_rows, residuals, g):
    return _backward(*residuals, g, stride, dilation, rows_as_images, whole_rows)


convolve.defvjp(_forward_and_residuals, _gradients)


# Both are jitted so that a network traces each shape once.
@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _forward(x, kernel, stride, dilation, rows_as_images):
    by_windows = functools.partial(of_windows, stride=stride, dilation=dilation)
    by_rows = functools.partial(of_rows, stride=stride, dilation=dilation)
    if not rows_as_images:
        return by_windows(x, kernel)
    return jax.lax.platform_dependent(x, kernel, tpu=by_rows, default=by_windows)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _backward(x, kernel, g, stride, dilation, rows_as_images, whole_rows):
    by_windows = functools.partial(gradients_of_windows, stride=stride, dilation=dilation)
    by_rows = functools.partial(
        gradients_of_rows, stride=stride, dilation=dilation, whole_rows=whole_rows
    )
    by_products = functools.partial(gradients_by_products, stride=stride, dilation=dilation)
    return jax.lax.platform_dependent(
        x,
        kernel,
        g,
        tpu=by_rows if rows_as_images else by_windows,
        cpu=by_products,
        default=by_windows,
    )


def of_windows(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """`convolve` as one operation."""
    padding = len(kernel) // 2 * dilation
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def gradients_of_windows(
    x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int, dilation: int
) -> tuple[jax.Array, jax.Array]:
    """The gradients of x and kernel, given the gradient `g` of the result of `of_windows`."""
    run = functools.partial(of_windows, stride=stride, dilation=dilation)
    return jax.vjp(run, x, kernel)[1](g)


def gradients_by_products(
    x: jax.Array, kernel: jax.Array, g: jax.Array, stride: int, dilation: int
) -> tuple[jax.Array, jax.Array]:
    """The gradients of x and kernel, that of the kernel as a matrix product over all pixels."""
    x, g = materialize((x, g))  # else what they come from would be computed for each shift
    run = functools.partial(of_windows, kernel=kernel, stride=stride, dilation=dilation)
    (of_x,) = jax.vjp(run, x)[1](g)
    before = len(kernel) // 2
    shifts = range(-before, before + 1)
    columns = _side_by_side(x, shifts, stride, dilation, _COLUMNS)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    multiply = functools.partial(jnp.einsum, "bhwc,bhwd->cd", preferred_element_type=wide)
    if stride > 1:
        windows = _side_by_side(columns, shifts, stride, dilation)
        return of_x, multiply(windows, g).reshape(kernel.shape).astype(kernel.dtype)
    # Shifting g up is shifting x down: three of each side by side, not nine of x.
    rows = _side_by_side(g, [-shift for shift in shifts], 1, dilation)
    size, _, inputs, outputs = kernel.shape
    products = multiply(columns, rows).reshape(size, inputs, size, outputs)
    return of_x, jnp.moveaxis(products, 2, 0).astype(kernel.dtype)


def of_rows(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int, *, whole_rows: bool = False
) -> jax.Array:
    """`convolve` with rows as images: `[B, H, W, C]` as `[B H, W, k C]`, a window of columns.

    Or, of wide features, the sum over the rows of the window of what `[B, H W, C]` adds. With
    `whole_rows` and a stride the gradient of x has another form, see `_windows_of_whole_rows`.
    """
    before = len(kernel) // 2
    shifts = range(-before, before + 1)
    if x.shape[-1] > _WIDE:
        rows = (_samples_from(x, shift * dilation, stride) for shift in shifts)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        along = functools.partial(_along_columns, stride=stride, dilation=dilation, dtype=wide)
        return functools.reduce(jnp.add, map(along, rows, kernel)).astype(x.dtype)
    by_matrix = whole_rows and before > 0 and stride > 1 and x.dtype == jnp.bfloat16
    windows = (_windows_of_whole_rows if by_matrix else _side_by_side)(x, shifts, stride, dilation)
    return _along_columns(windows, _by_columns(kernel), stride, dilation)


def gradients_of_rows(
    x: jax.Array,
    kernel: jax.Array,
    g: jax.Array,
    stride: int,
    dilation: int,
    *,
    whole_rows: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The gradients of x and kernel, given the gradient `g` of the result of `of_rows`."""
    if stride > 1:
        # Else the compiler would keep the windows of x from the forward pass: a little faster, but
        # half as large again as x.
        x, g = jax.lax.optimization_barrier((x, g))
        run = functools.partial(of_rows, stride=stride, dilation=dilation, whole_rows=whole_rows)
        return jax.vjp(run, x, kernel)[1](g)
    # Convolved by its columns, x gives what each row of the kernel adds to y, which is shifted and
    # added up. So both gradients read the shifted rows of g, and none of x.
    size, _, inputs, outputs = kernel.shape
    after = size // 2
    windows = _side_by_side(g, range(after, -after - 1, -1), 1, dilation)
    kernels = jnp.moveaxis(kernel, 0, 2).reshape(size, inputs, size * outputs)
    run = functools.partial(_along_columns, stride=1, dilation=dilation)
    of_x, of_kernels = jax.vjp(run, x, kernels)[1](windows)
    return of_x, jnp.moveaxis(of_kernels.reshape(size, inputs, size, outputs), 2, 0)


def _side_by_side(
    x: jax.Array, shifts: Sequence[int], stride: int, dilation: int, axis: int = _ROWS
) -> jax.Array:
    """The rows, or columns, so many steps of the window further, side by side in the channels."""
    samples = [_samples_from(x, shift * dilation, stride, axis) for shift in shifts]
    return jnp.concatenate(samples, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _windows_of_whole_rows(
    x: jax.Array, shifts: Sequence[int], stride: int, dilation: int
) -> jax.Array:
    """`_side_by_side` of bfloat16, whose gradient is a product with a matrix of zeros and ones.

    Rows lie in a TPU's lanes, between which rows with gaps are slow to move. The product adds up
    in float32 what comes from all rows of the window.
    """
    return _side_by_side(x, shifts, stride, dilation)


def _gradient_of_whole_rows(shifts, stride, dilation, x, g):
    rows = np.arange(x.shape[_ROWS])
    first = dilation * np.asarray(shifts)[:, None, None]
    is_source = first + rows[::stride, None] == rows  # [shifts, rows of g, rows of x]
    parts = g.reshape(*g.shape[:-1], len(shifts), x.shape[-1])
    return (jnp.einsum("skh,bkwsc->bhwc", is_source.astype(g.dtype), parts),)


_windows_of_whole_rows.defvjp(
    lambda x, *settings: (_side_by_side(x, *settings), x), _gradient_of_whole_rows
)


def _by_columns(kernel: jax.Array) -> jax.Array:
    """`[k, k, C, D]` as `[k, k C, D]`: its columns, with the rows side by side in the channels."""
    size, _, inputs, outputs = kernel.shape
    return kernel.swapaxes(0, 1).reshape(size, size * inputs, outputs)


def _along_columns(
    x: jax.Array,
    kernel: jax.Array,
    stride: int,
    dilation: int,
    dtype: jnp.dtype | None = None,
) -> jax.Array:
    """Convolves each row of `[B, H, W, C]` by itself, with a kernel `[k, C, D]` of columns.

    The result is in `dtype`, or in that of `x`.
    """
    batch, rows, columns, channels = x.shape
    padding = len(kernel) // 2 * dilation
    y = jax.lax.conv_general_dilated(
        x.reshape(batch * rows, columns, channels),
        kernel,
        window_strides=(stride,),
        padding=[(padding, padding)],
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        preferred_element_type=dtype,
    )
    return y.reshape(batch, rows, *y.shape[1:])


def _samples_from(x: jax.Array, start: int, stride: int, axis: int = _ROWS) -> jax.Array:
    """Samples `start`, `start + stride`, ... of an axis, as many as from 0; zeros where none are.

    Shifted by padding: of rows that devices share out each passes on those that others need.
    """
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (-start, start, 0)
    shifted = jax.lax.pad(x, jnp.zeros((), x.dtype), padding)
    return jax.lax.slice_in_dim(shifted, 0, None, stride, axis)
