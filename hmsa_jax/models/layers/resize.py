"""Bilinear resizing, equal to PyTorch's `interpolate(mode='bilinear', align_corners=False)`.

`jax.image.resize` multiplies by dense [in, out] matrices at the highest precision. The ratios this
network uses need two taps an axis: an integer factor is slices and products only, which also
partition over sharded rows with a halo instead of a gather. Columns lie in a TPU's sublanes or
lanes, where samples that interleave are slow and a matrix is not: there columns, which no device
shares with another, are enlarged by one, and rows by another if they are not shared, either
(docs/results/tpu_speed.md has the measurements). A CPU has a form of its own for the sake of its
gradient (docs/results/pytorch_cpu.md).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_ROWS, _COLUMNS = 1, 2
_LARGEST_MATRIX = 2**24  # numbers: of 2048 to 8192 columns


# Jitted so that a network traces each shape once.
@functools.partial(jax.jit, static_argnames=("size", "whole_rows"))
@jax.named_scope("resize")
def resize_bilinear(x: jax.Array, size: tuple[int, ...], *, whole_rows: bool = False) -> jax.Array:
    """Resizes rows and columns with half-pixel centres and without antialiasing.

    Args:
      x: `[B, H, W, C]`, any float dtype; interpolated in at least float32.
      size: `(rows, columns)` of the result.
      whole_rows: whether no devices share out the rows.

    Returns:
      `[B, rows, columns, C]` in the dtype of `x`.
    """
    by_axes = functools.partial(_by_axes, size=size)
    if not (whole_rows and _has_exact_taps(x, size)):
        return by_axes(x)
    by_matrices = functools.partial(_by_matrices, source=x.shape[1:3], target=size)
    return jax.lax.platform_dependent(x, tpu=by_matrices, default=by_axes)


def _by_axes(x: jax.Array, size: tuple[int, ...]) -> jax.Array:
    dtype = x.dtype
    x = x.astype(jnp.promote_types(dtype, jnp.float32))
    for axis, target in ((_ROWS, size[0]), (_COLUMNS, size[1])):
        x = _resize_axis(x, axis, target)
    return x.astype(dtype)


def _resize_axis(x: jax.Array, axis: int, target: int) -> jax.Array:
    source = x.shape[axis]
    if target == source:
        return x
    if source == 1:
        return jnp.repeat(x, target, axis)
    if source % target == 0:
        return _reduce(x, axis, source // target)
    if target % source == 0:
        combine = functools.partial(_enlarge, axis=axis, factor=target // source)
    else:
        combine = functools.partial(_interpolate, axis=axis, target=target)
    if axis == _COLUMNS and source * target <= _LARGEST_MATRIX:
        return jax.lax.platform_dependent(
            x, tpu=functools.partial(_multiply, target=target), default=combine
        )
    return combine(x)


def _enlarge(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """Each sample becomes `factor` phases, the first half leaning left, the rest right."""
    lean = np.abs((np.arange(factor) + 0.5) / factor - 0.5)
    neighbours = _neighbour(x, axis, -1), _neighbour(x, axis, 1)
    y = jax.lax.platform_dependent(
        x,
        *neighbours,
        cpu=functools.partial(_phase_by_phase, axis=axis, lean=lean),
        default=functools.partial(_phases_at_once, axis=axis, lean=lean),
    )
    return y.reshape(*x.shape[:axis], x.shape[axis] * factor, *x.shape[axis + 1 :])


def _phases_at_once(
    x: jax.Array, left: jax.Array, right: jax.Array, axis: int, lean: np.ndarray
) -> jax.Array:
    """The phases, on an axis after `axis`."""
    tap_shape = [1] * (x.ndim + 1)
    tap_shape[axis + 1] = -1

    def phases(neighbour, taps):
        taps = jnp.asarray(taps.reshape(tap_shape), x.dtype)
        here = jnp.expand_dims(x, axis + 1)
        return here * (1 - taps) + jnp.expand_dims(neighbour, axis + 1) * taps

    half = len(lean) // 2
    return jnp.concatenate([phases(left, lean[:half]), phases(right, lean[half:])], axis + 1)


def _phase_by_phase(
    x: jax.Array, left: jax.Array, right: jax.Array, axis: int, lean: np.ndarray
) -> jax.Array:
    """The same, one by one: a CPU adds up their gradients in one pass, without reductions."""
    half = len(lean) // 2
    phases = [
        x * (1 - tap) + neighbour * tap
        for neighbour, taps in ((left, lean[:half]), (right, lean[half:]))
        for tap in taps.tolist()
    ]
    return jnp.stack(phases, axis + 1)


def _neighbour(x: jax.Array, axis: int, step: int) -> jax.Array:
    """The sample before each one (step -1) or after it (1); at the edge the sample itself.

    Shifted by padding: of rows that devices share out each passes on one. If slices were put
    together, XLA would exchange all of them.
    """
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (-step, step, 0)
    shifted = jax.lax.pad(x, jnp.zeros((), x.dtype), padding)
    edge = 0 if step < 0 else x.shape[axis] - 1
    return jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, axis) == edge, x, shifted)


def _reduce(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """The middle sample of every `factor` (odd), or the mean of the middle two (even)."""
    middle = _take(x, axis, factor // 2, None, factor)
    if factor % 2:
        return middle
    return 0.5 * (_take(x, axis, factor // 2 - 1, None, factor) + middle)


def _interpolate(x: jax.Array, axis: int, target: int) -> jax.Array:
    """Any other ratio: two gathered neighbours for each target sample.

    Of rows that devices share out each gathers all. Evaluation shares out none, and in training
    with the paper's scales every ratio of rows is a whole number or its inverse.
    """
    low, high, weight = _taps(x.shape[axis], target)
    shape = [1] * x.ndim
    shape[axis] = -1
    of_high = jnp.asarray(weight.reshape(shape), x.dtype)
    return jnp.take(x, low, axis) * (1 - of_high) + jnp.take(x, high, axis) * of_high


def _multiply(x: jax.Array, target: int) -> jax.Array:
    """Any ratio, of columns, by a matrix `[target, columns]` of two taps a row."""
    matrix = _matrix(x.shape[_COLUMNS], target, x.dtype)
    return jnp.einsum("tw,bhwc->bhtc", matrix, x, precision=jax.lax.Precision.HIGHEST)


def _has_exact_taps(x: jax.Array, size: tuple[int, ...]) -> bool:
    """Whether bfloat16 is enlarged along both axes by powers of two, whose taps it holds.

    And no axis is so long that its matrix is too large.
    """
    axes = list(zip(size, x.shape[1:3], strict=True))
    ratios = [divmod(target, source) for target, source in axes]
    powers = all(rest == 0 and 1 < factor == factor & -factor for factor, rest in ratios)
    small = all(target * source <= _LARGEST_MATRIX for target, source in axes)
    return x.dtype == jnp.bfloat16 and powers and small


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _by_matrices(x: jax.Array, source: tuple[int, ...], target: tuple[int, ...]) -> jax.Array:
    """Both axes of `x` that `_has_exact_taps`, `source` being their sizes."""
    return _multiply_both(x, *_matrices(source, target, x.dtype))


def _gradient_by_matrices(source, target, _, g):
    of_rows, of_columns = _matrices(source, target, g.dtype)
    return (_multiply_both(g, of_rows.T, of_columns.T),)


_by_matrices.defvjp(lambda x, *sizes: (_by_matrices(x, *sizes), None), _gradient_by_matrices)


def _multiply_both(x: jax.Array, of_rows: jax.Array, of_columns: jax.Array) -> jax.Array:
    # Columns first, forward and backward: a product of bfloat16 with exact taps loses nothing, and
    # takes a sixth of what one of float32 does.
    wide = jnp.einsum("tw,bhwc->bhtc", of_columns, x, preferred_element_type=jnp.float32)
    wide = jnp.einsum("uh,bhtc->butc", of_rows, wide, precision=jax.lax.Precision.HIGHEST)
    return wide.astype(x.dtype)


def _matrices(
    source: tuple[int, ...], target: tuple[int, ...], dtype: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
    """Those of rows, float32, and of columns, of this dtype."""
    return (
        _matrix(source[0], target[0], jnp.dtype("float32")),
        _matrix(source[1], target[1], dtype),
    )


def _matrix(source: int, target: int, dtype: jnp.dtype) -> jax.Array:
    """What enlarges an axis: `[target, source]`, two taps a row.

    Made in the program, since constants of all platforms are in the programs of each.
    """
    low, high, weight = _taps(source, target)
    numbers = jnp.arange(source, dtype=jnp.int32)

    def tap(places: np.ndarray, values: np.ndarray) -> jax.Array:
        here = numbers == places[:, None].astype(np.int32)
        return jnp.where(here, jnp.asarray(values[:, None], dtype), 0)

    return tap(low, 1 - weight) + tap(high, weight)


def _taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each target sample its two neighbours, and the weight of the second."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, None)
    low = np.minimum(position.astype(np.int64), source - 1)
    return low, np.minimum(low + 1, source - 1), position - low


def integer_taps(
    source: jax.Array | int, target: jax.Array | int, number: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For each target sample its two neighbours, and the weight of the second.

    In integers, since a position among thousands of pixels would lose digits of its weight.

    Args:
      source: how many samples there are, int32.
      target: how many there are when they are resized, int32.
      number: of the target samples, int32; (2 x number + 1) x source has to fit.

    Returns:
      The neighbours, and the weight of the second times 2 x target, int32.
    """
    # (number + 1/2) source / target - 1/2 over the denominator 2 target
    numerator = jnp.maximum((2 * number + 1) * source - target, 0)
    low = jnp.minimum(numerator // (2 * target), source - 1)
    return low, jnp.minimum(low + 1, source - 1), numerator - low * 2 * target


def _take(x: jax.Array, axis: int, start: int, stop: int | None, stride: int = 1) -> jax.Array:
    return jax.lax.slice_in_dim(x, start, stop, stride, axis)
