"""Bilinear resizing, equal to PyTorch's `interpolate(mode='bilinear', align_corners=False)`.

`jax.image.resize` multiplies by dense [in, out] matrices at the highest precision. The ratios this
network uses need two taps an axis: an integer factor is slices and products only, which also
partition over sharded rows with a halo instead of a gather.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


# Jitted so that a network traces each shape once.
@functools.partial(jax.jit, static_argnames="size")
def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes rows and columns with half-pixel centres and without antialiasing.

    Args:
      x: `[B, H, W, C]`, any float dtype; interpolated in at least float32.
      size: `(rows, columns)` of the result.

    Returns:
      `[B, rows, columns, C]` in the dtype of `x`.
    """
    dtype = x.dtype
    x = x.astype(jnp.promote_types(dtype, jnp.float32))
    for axis, target in ((1, size[0]), (2, size[1])):
        x = _resize_axis(x, axis, target)
    return x.astype(dtype)


def _resize_axis(x: jax.Array, axis: int, target: int) -> jax.Array:
    source = x.shape[axis]
    if target == source:
        return x
    if target % source == 0:
        return _enlarge(x, axis, target // source)
    if source % target == 0:
        return _reduce(x, axis, source // target)
    return _interpolate(x, axis, target)


def _enlarge(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """Each sample becomes `factor` phases, the first half leaning left, the rest right."""
    lean = np.abs((np.arange(factor) + 0.5) / factor - 0.5)
    last = x.shape[axis] - 1
    left = jnp.concatenate([_take(x, axis, 0, 1), _take(x, axis, 0, last)], axis)
    right = jnp.concatenate([_take(x, axis, 1, None), _take(x, axis, last, None)], axis)
    tap_shape = [1] * (x.ndim + 1)
    tap_shape[axis + 1] = -1

    def phases(neighbour, taps):
        taps = jnp.asarray(taps.reshape(tap_shape), x.dtype)
        here = jnp.expand_dims(x, axis + 1)
        return here * (1 - taps) + jnp.expand_dims(neighbour, axis + 1) * taps

    half = factor // 2
    y = jnp.concatenate([phases(left, lean[:half]), phases(right, lean[half:])], axis + 1)
    return y.reshape(*x.shape[:axis], x.shape[axis] * factor, *x.shape[axis + 1 :])


def _reduce(x: jax.Array, axis: int, factor: int) -> jax.Array:
    """The middle sample of every `factor` (odd), or the mean of the middle two (even)."""
    middle = _take(x, axis, factor // 2, None, factor)
    if factor % 2:
        return middle
    return 0.5 * (_take(x, axis, factor // 2 - 1, None, factor) + middle)


def _interpolate(x: jax.Array, axis: int, target: int) -> jax.Array:
    """Any other ratio: two gathered neighbours for each target sample."""
    source = x.shape[axis]
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, None)
    low = np.minimum(position.astype(np.int64), source - 1)
    high = np.minimum(low + 1, source - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    weight = jnp.asarray((position - low).reshape(shape), x.dtype)
    return jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight


def _take(x: jax.Array, axis: int, start: int, stop: int | None, stride: int = 1) -> jax.Array:
    return jax.lax.slice_in_dim(x, start, stop, stride, axis)
