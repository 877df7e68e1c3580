"""The highest scale of a chain, looked at through a window where it matters most.

Of scales 0.5, 1 and 2 the highest takes three quarters of the work, also where the attention of the
lower scales leaves it no share. Here they say first how much they leave to it, and of the image at
the highest scale the network sees a part alone: the window of a given size to which they leave the
most. A smooth edge blends what it says there with the chain of the lower scales, which stands alone
elsewhere. All shapes are static, and where images share a canvas, each has the window that it would
have by itself.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.models.fusion import scaled_size
from hmsa_jax.models.layers.canvas import MULTIPLE, Canvas, resize
from hmsa_jax.models.multiscale import ScaleOutput

_ALIGNED = 4  # windows start at multiples, where features of the heads do
_CUT_OFF = 4  # pixels at the edge of a window that do not count: what surrounds them is not seen
_RISE = 16  # pixels from there on over which its weight rises to 1

Look = Callable[[jax.Array, jax.Array | None], ScaleOutput]
"""From arrays of pixels, `[B, rows, columns, 3]`, and how many rows and columns of them are images,
int32 `[B, 2]` or None for all, to what the network says of them."""


@dataclasses.dataclass(frozen=True)
class WindowAxis:
    """The rows, or the columns, of windows in scaled images.

    Attributes:
      lengths: of the images, int32 `[B]`.
      windows: of the window in each, int32 `[B]`.
      side: of the arrays that hold windows, a multiple of `MULTIPLE`.
      count: of places where a window may start in an image that fills its canvas.
      is_filled: whether all windows are of that side, wherever they start.
    """

    lengths: jax.Array
    windows: jax.Array
    side: int
    count: int
    is_filled: bool

    @classmethod
    def of(cls, longest: int, lengths: jax.Array | None, percent: int, images: int) -> "WindowAxis":
        """Of images up to a length, or all of that length.

        Args:
          longest: the length of the canvas.
          lengths: of the images; None if all are as long.
          percent: of the pixels of an image, how many its window has.
          images: their number.
        """
        table = np.array([window_length(n, percent) for n in range(longest + 1)], np.int32)
        beyond = np.arange(longest + 1) - table
        side = -(-table[-1] // MULTIPLE) * MULTIPLE
        if lengths is None:
            beyond, table = beyond[-1:], table[-1:]
            lengths, windows = (jnp.full((images,), n, jnp.int32) for n in (longest, table[-1]))
            is_filled = bool(table[-1] == side and beyond[-1] % _ALIGNED == 0)
        else:
            windows, is_filled = jnp.asarray(table)[lengths], False
        return cls(lengths, windows, int(side), int(-(-beyond.max() // MULTIPLE)) + 1, is_filled)

    @functools.cached_property
    def starts(self) -> jax.Array:
        """Where a window may start, int32 `[B, count]`, the last of them as far as it can."""
        last = -(-(self.lengths - self.windows) // _ALIGNED) * _ALIGNED
        return jnp.minimum(MULTIPLE * jnp.arange(self.count), last[:, None])

    @property
    def ends(self) -> jax.Array:
        """Where it then ends, int32 `[B, count]`."""
        return jnp.minimum(self.starts + self.windows[:, None], self.lengths[:, None])

    def membership(self, features: int, lengths: jax.Array) -> jax.Array:
        """Which features of images are in which window, float32 `[B, count, features]` of 0 and 1.

        Args:
          features: how many arrays hold.
          lengths: how many of them each image has, int32 `[B]`.
        """
        # (number + 1/2) lengths / features, twice and times the features
        centre = ((2 * jnp.arange(features) + 1) * self.lengths[:, None])[:, None]
        starts, ends = (2 * (at * lengths[:, None])[..., None] for at in (self.starts, self.ends))
        return ((starts <= centre) & (centre < ends)).astype(jnp.float32)

    def at(self, number: jax.Array) -> "ChosenAxis":
        """With the window of each image at one of its places, int32 `[B]`."""
        starts, ends = (
            jnp.take_along_axis(x, number[:, None], 1)[:, 0] for x in (self.starts, self.ends)
        )
        return ChosenAxis(self, starts, ends)


@dataclasses.dataclass(frozen=True)
class ChosenAxis:
    """The rows, or the columns, of one window in each image.

    Attributes:
      axis: that they are of.
      starts: int32 `[B]`.
      ends: int32 `[B]`.
    """

    axis: WindowAxis
    starts: jax.Array
    ends: jax.Array

    def cut(self, x: jax.Array, number: int) -> jax.Array:
        """The pixels of the windows along an axis of `x` `[B, ...]`, which is images."""
        return _take(x, self.starts[:, None] + jnp.arange(self.axis.side), number)

    def put(self, x: jax.Array, number: int, features: int, stride: int) -> jax.Array:
        """Features of the windows along an axis of `x` `[B, ...]`, where they lie in the images.

        Args:
          x: features of the windows.
          number: of the axis.
          features: that an image has.
          stride: of the features.
        """
        return _take(x, jnp.arange(features) - self.starts[:, None] // stride, number)

    def weights(self, features: int, stride: int) -> jax.Array:
        """How much the window counts at each feature of an image, float32 `[B, features]`.

        Where the image ends it does up to its edge.
        """
        centre = (jnp.arange(features) + 0.5) * stride
        starts, ends = self.starts[:, None], self.ends[:, None]

        def rise(distance: jax.Array, is_end_of_image: jax.Array) -> jax.Array:
            t = jnp.clip((distance - _CUT_OFF) / _RISE, 0, 1)
            return jnp.where(is_end_of_image, 1, t * t * (3 - 2 * t))

        first = rise(centre - starts, starts == 0)
        return first * rise(ends - centre, ends == self.axis.lengths[:, None])


def _take(x: jax.Array, at: jax.Array, number: int) -> jax.Array:
    """Of each image of `x` what is at `at`, int32 `[B, n]`, along an axis; its ends go on."""
    at = jnp.clip(at, 0, x.shape[number] - 1)  # here, since converters do not clip as "clip" does
    return jax.vmap(functools.partial(jnp.take, axis=number - 1, mode="clip"))(x, at)


def window_length(length: int, percent: int) -> int:
    """The rows, or columns, of a window that has so many percent of the pixels of an image.

    >>> window_length(512, 25), window_length(512, 50), window_length(20, 50)
    (256, 352, 20)
    """
    steps = round(length * math.sqrt(percent / 100) / MULTIPLE)
    return min(max(steps, 1) * MULTIPLE, length)


def share_of_highest(
    outputs: Mapping[float, ScaleOutput], lower: Sequence[float], canvas: Canvas
) -> tuple[jax.Array, Canvas]:
    """The share that the attention of lower scales leaves to the highest of a chain.

    Args:
      outputs: of the network, of at least those scales.
      lower: all scales of the chain but the highest.
      canvas: of the images.

    Returns:
      `[B, h, w]` float32, features of the highest scale of `lower`; and where they lie.
    """
    own = {}
    for scale in lower:
        attention = outputs[scale].attention
        assert attention is not None  # the protocol is one of this network
        own[scale] = canvas.scaled(scale, scaled_size).of_features(attention), attention
    target, share = own[max(lower)][0], jnp.ones(())
    for where, attention in own.values():
        share = share * (1 - resize(attention, where, target))
    return target.clear(share)[..., 0], target


def choose(
    rows: WindowAxis, columns: WindowAxis, need: jax.Array, where: Canvas
) -> tuple[ChosenAxis, ChosenAxis]:
    """The window of each image in which the need is largest; of several the first.

    Args:
      rows: where windows may lie.
      columns: likewise.
      need: `[B, h, w]` float32, features of the images.
      where: they lie.
    """
    valid = where.valid
    if valid is None:
        valid = jnp.full((need.shape[0], 2), jnp.array(where.shape), jnp.int32)
    of_rows, of_columns = (
        axis.membership(need.shape[1 + i], valid[:, i]) for i, axis in enumerate((rows, columns))
    )
    sums = jnp.einsum("brh,bhw,bcw->brc", of_rows, need, of_columns, precision="highest")
    best = sums.reshape(sums.shape[0], rows.count * columns.count).argmax(-1)
    return rows.at(best // columns.count), columns.at(best % columns.count)


def of_window(
    outputs: Mapping[float, ScaleOutput],
    scales: Sequence[float],
    percent: int,
    images: jax.Array,
    canvas: Canvas,
    look: Look,
) -> ScaleOutput:
    """What the network says at the highest scale of a chain, through a window in each image.

    Args:
      outputs: what it says at the others.
      scales: all of the chain.
      percent: of the pixels of an image, how many the window has.
      images: `[B, H, W, 3]`, normalised, at scale 1.
      canvas: of the images.
      look: the network.

    Returns:
      Logits of the whole image, times `coverage`, which is 0 outside of the window.
    """
    *lower, highest = sorted(scales)
    scaled = canvas.scaled(highest, scaled_size)
    rows, columns = (
        WindowAxis.of(
            n, None if scaled.valid is None else scaled.valid[:, i], percent, images.shape[0]
        )
        for i, n in enumerate(scaled.shape)
    )
    chosen = choose(rows, columns, *share_of_highest(outputs, lower, canvas))
    pixels = resize(images, canvas, scaled)
    for number, axis in enumerate(chosen, 1):
        pixels = axis.cut(pixels, number)
    sizes = None
    if not (rows.is_filled and columns.is_filled):
        sizes = jnp.stack([axis.ends - axis.starts for axis in chosen], -1)
    logits = look(pixels, sizes).logits
    stride = rows.side // logits.shape[1]
    shape = [-(-n // stride) for n in scaled.shape]
    for number, (axis, n) in enumerate(zip(chosen, shape, strict=True), 1):
        logits = axis.put(logits, number, n, stride)
    of_rows, of_columns = (a.weights(n, stride) for a, n in zip(chosen, shape, strict=True))
    coverage = (of_rows[:, :, None] * of_columns[:, None])[..., None].astype(logits.dtype)
    return ScaleOutput(logits * coverage, None, None, coverage)
