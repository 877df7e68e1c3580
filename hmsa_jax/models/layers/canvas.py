"""Images of several sizes in arrays of one shape, computed as if each stood alone.

One compiled program then serves all sizes. An image lies at the top left of its canvas. What lies
outside of it is zero before every window of a convolution, as the convolution's own padding would
be; means and softmaxes over space leave it out; resizing takes its ratio from the sizes of the
images and ends at their edges.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.models.layers import strip
from hmsa_jax.models.layers.resize import integer_taps, resize_bilinear
from hmsa_jax.models.layers.strip import LARGEST, ScaledSize, Size, Strip

MULTIPLE = 32
"""Of this are rows and columns of a canvas, so that features of all strides divide it."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Canvas:
    """The shape of arrays, and which part of it each image covers.

    Attributes:
      shape: rows and columns.
      valid: int32 `[B, 2]`, rows and columns of each image, or None where all images fill the
        canvas: then every method is the plain operation.
    """

    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    valid: jax.Array | None = None

    @classmethod
    def of(cls, size: "tuple[int, ...] | Canvas | Strip") -> "Canvas | Strip":
        """The canvas that images of one size fill; canvas and strip are returned as they are."""
        return size if isinstance(size, (Canvas, Strip)) else cls(tuple(size))

    def scaled(self, scale: float, scaled_size: ScaledSize) -> "Canvas":
        """Where the images lie when each is resized to its `scaled_size`.

        Raises:
          ValueError: nothing is left of the canvas.
        """
        shape = scaled_size((self.shape[0], self.shape[1]), scale)
        if self.valid is None:
            return Canvas(shape)
        if scale == 1:
            return self
        # Looked up, since products in float32 would round others than the host does.
        tables = [_scaled_lengths(length, scale, scaled_size) for length in self.shape]
        valid = [jnp.asarray(table)[self.valid[:, axis]] for axis, table in enumerate(tables)]
        rows, columns = (-(-length // MULTIPLE) * MULTIPLE for length in shape)
        return Canvas((rows, columns), jnp.stack(valid, -1))

    def is_same(self, one: ScaledSize, other: ScaledSize, scale: float) -> bool:
        """Whether all images that there may be have equal sizes at a scale by both."""
        if self.valid is None:
            size = (self.shape[0], self.shape[1])
            return one(size, scale) == other(size, scale)
        longest = max(self.shape)
        tables = [_scaled_lengths(longest, scale, scaled_size) for scaled_size in (one, other)]
        return bool(np.array_equal(tables[0], tables[1]))

    def of_features(self, features: jax.Array | jax.ShapeDtypeStruct) -> "Canvas":
        """The canvas of features `[B, h, w, ...]` of the images, whose stride divides it."""
        rows, columns = features.shape[1:3]
        if self.valid is None:
            return Canvas((rows, columns))
        if self.shape[0] % rows or self.shape[1] % columns:
            raise ValueError(f"features of {rows} x {columns} do not divide {self.shape}")
        strides = jnp.array([self.shape[0] // rows, self.shape[1] // columns], jnp.int32)
        return Canvas((rows, columns), -(-self.valid // strides))

    def is_inside(self) -> jax.Array | None:
        """Whether a pixel belongs to an image, bool `[B, rows, columns, 1]`; None if all do."""
        if self.valid is None:
            return None
        rows, columns = (self.valid[:, axis, None] for axis in (0, 1))
        in_rows = jnp.arange(self.shape[0]) < rows
        in_columns = jnp.arange(self.shape[1]) < columns
        return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]

    def clear(self, x: jax.Array) -> jax.Array:
        """Features `[B, h, w, C]` of the images with zeros outside of them."""
        inside = self.of_features(x).is_inside()
        return x if inside is None else jnp.where(inside, x, jnp.zeros((), x.dtype))

    def mean(self, x: jax.Array, dtype: jnp.dtype) -> jax.Array:
        """The mean over the pixels of each image, `[B, 1, 1, C]` in `dtype`, of clear features."""
        if self.valid is None:
            return x.mean((1, 2), keepdims=True, dtype=dtype)
        valid = self.of_features(x).valid
        assert valid is not None
        return x.sum((1, 2), keepdims=True, dtype=dtype) / valid.prod(1)[:, None, None, None]

    def softmax(self, x: jax.Array) -> jax.Array:
        """The softmax of each channel over the pixels of each image; zero outside of them."""
        return jax.nn.softmax(x, axis=(1, 2), where=self.of_features(x).is_inside())

    def mirror(self, x: jax.Array) -> jax.Array:
        """Each image `[B, rows, columns, ...]` from right to left, at the top left again."""
        if self.valid is None:
            return x[:, :, ::-1]
        columns = self.valid[:, 1, None] - 1 - jnp.arange(self.shape[1])
        return jax.vmap(functools.partial(jnp.take, axis=1))(x, jnp.maximum(columns, 0))

    def resize(self, x: jax.Array, size: tuple[int, ...], *, whole_rows: bool = False) -> jax.Array:
        """Brings features `[B, h, w, C]` of the images to `size`, of another stride of theirs.

        `whole_rows` is as for `resize_bilinear`.
        """
        if self.valid is None:
            return resize_bilinear(x, size, whole_rows=whole_rows)
        target = self.of_features(jax.ShapeDtypeStruct((x.shape[0], *size), x.dtype))
        return resize(x, self.of_features(x), target)


FILLED = Canvas((0, 0))
"""For layers whose images fill their arrays, whatever the shape."""

Extent = Size | Canvas | Strip
"""Rows and columns of images that fill their arrays, or what else says where they lie."""


def resize(x: jax.Array, canvas: Canvas | Strip, target: Canvas | Strip) -> jax.Array:
    """Resizes each image of `x` `[B, *canvas.shape, C]` to where it lies on another canvas.

    Or, where both are strips of an image, to the rows of the other.

    As `resize_bilinear` for each image by itself.

    Returns:
      `[B, *target.shape, C]` in the dtype of `x`, zero outside of the images.

    Raises:
      ValueError: a side is so long that its positions do not fit into int32.
    """
    if isinstance(canvas, Strip) or isinstance(target, Strip):
        assert isinstance(canvas, Strip)
        assert isinstance(target, Strip)
        return strip.resize(x, canvas, target)
    if canvas.valid is None or target.valid is None:
        return resize_bilinear(x, target.shape)
    if canvas is target:
        return target.clear(x)
    for source, resized in zip(canvas.shape, target.shape, strict=True):
        if (2 * resized + 1) * source > LARGEST:
            raise ValueError(
                f"images of {source} pixels a side cannot be resized to {resized} on a canvas that"
                " several sizes share; predict images of fewer sizes at a time, or smaller ones"
            )
    return _resize_each(x, canvas.valid, target)


# Jitted so that a network traces each shape once.
@jax.jit
def _resize_each(x: jax.Array, valid: jax.Array, target: Canvas) -> jax.Array:
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    assert target.valid is not None
    for axis in (0, 1):
        of = 2 * target.valid[:, axis, None]
        number = jnp.arange(target.shape[axis])
        low, high, rest = integer_taps(valid[:, axis, None], of // 2, number)
        take = jax.vmap(functools.partial(jnp.take, axis=axis, mode="clip"))
        shape = [x.shape[0], 1, 1, 1]
        shape[1 + axis] = -1
        of_high = (rest.astype(wide.dtype) / of.astype(wide.dtype)).reshape(shape)
        wide = take(wide, low) * (1 - of_high) + take(wide, high) * of_high
    return target.clear(wide).astype(x.dtype)


def _scaled_lengths(longest: int, scale: float, scaled_size: ScaledSize) -> np.ndarray:
    """int32 `[longest + 1]`: of each length the scaled one, 1 at least."""

    def scaled(length: int) -> int:
        try:
            return scaled_size((length, length), scale)[0]
        except ValueError:  # nothing is left, or there is no such image
            return 1

    return np.array([scaled(length) for length in range(longest + 1)], np.int32)
