"""Some rows of an image of which no array holds all: where they lie, and how they are resized.

What is fused from features strip by strip equals what is fused from all of them: each row is
computed from the same neighbours, with weights from the sizes of the whole images.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hmsa_jax.models.layers.resize import integer_taps, resize_bilinear

_ALIGNED = 32  # rows of scaled images that arrays hold start and end at multiples: of any stride
_BEYOND = 4  # rows beyond a strip, of the image and of the scaled one: more than two neighbours
LARGEST = 2**31 - 1  # of int32

Size = tuple[int, int]
ScaledSize = Callable[[Size, float], Size]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Strip:
    """Some rows of an image, or of features of it.

    Attributes:
      whole: rows and columns of all of it.
      rows: how many of them arrays hold.
      scales: at which the image is looked at.
      first: the number of the first row that arrays hold, int32, negative never.
    """

    whole: Size = dataclasses.field(metadata={"static": True})
    rows: int = dataclasses.field(metadata={"static": True})
    scales: tuple[float, ...] = dataclasses.field(metadata={"static": True})
    first: jax.Array | int

    def scaled(self, scale: float, scaled_size: ScaledSize) -> "Strip":
        """The rows of the scaled image that these rows are computed from.

        A higher scale holds some more, since the next lower one is computed from it in the chain.
        """
        rows, columns = scaled_size(self.whole, scale)
        above = sum(1 < other <= scale for other in self.scales) if scale >= 1 else 1
        beyond = _BEYOND * (1 + above)
        held = -(-(self.rows + 2 * beyond) * rows // self.whole[0]) + 2 * _BEYOND
        held = min(_up(held) + 3 * _ALIGNED, _up(rows))
        first = (self.first - beyond) * rows // self.whole[0] - _BEYOND
        first = jnp.clip(first // _ALIGNED * _ALIGNED - _ALIGNED, 0, _up(rows) - held)
        return Strip((rows, columns), held, self.scales, first)

    def of_features(self, features: jax.Array) -> "Strip":
        """The strip of features `[B, h, w, ...]` of these rows, whose stride divides them."""
        stride = self.rows // features.shape[1]
        rows, columns = (-(-length // stride) for length in self.whole)
        if stride * features.shape[1] != self.rows or features.shape[2] != columns:
            raise ValueError(f"features of {features.shape[1:3]} do not divide {self}")
        return Strip((rows, columns), features.shape[1], self.scales, self.first // stride)


def check(rows: int, scales: tuple[float, ...]) -> None:
    """Raises ValueError if positions in an image of so many rows do not fit into int32.

    >>> check(16000, (0.5, 1.0, 2.0))
    >>> check(20000, (0.5, 1.0, 2.0))
    Traceback (most recent call last):
    ValueError: 20000 rows are too many at scale 2; cut the image up, or name smaller scales
    """
    largest = max(1.0, *scales)
    if (2 * rows * largest + 1) * rows * largest > LARGEST:
        raise ValueError(
            f"{rows} rows are too many at scale {largest:g}; cut the image up, or name smaller"
            " scales"
        )


def resize(x: jax.Array, strip: Strip, target: Strip) -> jax.Array:
    """Resizes rows `[B, strip.rows, w, C]` to the rows of another strip of the same image.

    As `resize_bilinear` of the whole image, as far as `x` holds what the target is computed from.

    Returns:
      `[B, target.rows, columns, C]` in the dtype of `x`.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    number = target.first + jnp.arange(target.rows)
    low, high, rest = integer_taps(strip.whole[0], target.whole[0], number)
    of_high = (rest.astype(wide.dtype) / (2 * target.whole[0]))[:, None, None]
    # Rows beyond those that are held are computed only where the image has ended.
    low, high = (jnp.clip(at - strip.first, 0, strip.rows - 1) for at in (low, high))
    wide = jnp.take(wide, low, 1) * (1 - of_high) + jnp.take(wide, high, 1) * of_high
    return resize_bilinear(wide, (target.rows, target.whole[1])).astype(x.dtype)


def _up(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED
