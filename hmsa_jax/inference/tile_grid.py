"""How a scaled image is cut into overlapping tiles of one shape, and blended again."""

import dataclasses
import functools
import itertools

import numpy as np

from hmsa_jax.models.layers.canvas import MULTIPLE, Size

STEP = 4 * MULTIPLE
"""Of this is the side of a tile a multiple, so that tiles that share a quarter of it start where
the features of all strides do."""

_SHARED = 4  # tiles share a quarter of their rows and columns with the next

Tile = tuple[int, int]  # numbers of its row and its column of tiles


@dataclasses.dataclass(frozen=True)
class Axis:
    """The rows, or the columns, of a scaled image.

    Attributes:
      length: of the image.
      scaled: of the scaled image.
      side: of a tile.
    """

    length: int
    scaled: int
    side: int

    @functools.cached_property
    def starts(self) -> list[int]:
        """Where the tiles start in the scaled image, evenly and at multiples of `MULTIPLE`."""
        if self.scaled <= self.side:
            return [0]
        last = -(-(self.scaled - self.side) // MULTIPLE)
        step = (self.side - self.side // _SHARED) // MULTIPLE
        count = -(-last // step) + 1
        return [MULTIPLE * (last * i // (count - 1)) for i in range(count)]

    def covered(self, tile: int) -> int:
        """How much of a tile the scaled image covers."""
        return min(self.scaled - self.starts[tile], self.side)

    def taps(self, tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which pixels of the image each of a tile is computed from, as `resize_bilinear` has it.

        Returns:
          Two numbers, int64 `[side]`, and the weight of the second, float64. Beyond the scaled
          image they are those of its edge.
        """
        number = self.starts[tile] + np.arange(self.side)
        numerator = np.maximum((2 * number + 1) * self.length - self.scaled, 0)
        low = np.minimum(numerator // (2 * self.scaled), self.length - 1)
        of_high = numerator / (2 * self.scaled) - low
        return low, np.minimum(low + 1, self.length - 1), np.minimum(of_high, 1)

    @functools.cached_property
    def reach(self) -> int:
        """How many pixels of the image a tile is computed from, the most of all tiles."""
        taps = [self.taps(tile) for tile in range(len(self.starts))]
        return max(int(high[-1] - low[0]) + 1 for low, high, _ in taps)

    def window(self, tile: int, samples: int) -> np.ndarray:
        """How much each of so many features of a tile counts, float64; those of all tiles sum to 1.

        Nothing counts in the outer quarter of what two tiles share, where the network knows least
        of what surrounds it; from there the weight rises smoothly, over half of it.
        """
        stride = self.side // samples
        centre = self.starts[tile] + (np.arange(samples) + 0.5) * stride
        total = sum(self._rise(other, centre) for other in range(len(self.starts)))
        own = self._rise(tile, centre)
        return np.divide(own, total, out=np.zeros(samples), where=own > 0)

    def _rise(self, tile: int, position: np.ndarray) -> np.ndarray:
        start, shared = self.starts[tile], self.side // _SHARED
        inside = np.ones_like(position)
        for distance, is_edge in (
            (position - start, tile == 0),
            (start + self.side - position, tile == len(self.starts) - 1),
        ):
            if not is_edge:
                t = np.clip(2 * distance / shared - 0.5, 0, 1)
                inside *= t * t * (3 - 2 * t)
        return inside * ((position >= start) & (position < start + self.side))


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """The tiles of an image at one scale.

    Attributes:
      rows: how rows are cut.
      columns: how columns are cut.
    """

    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, size: Size, scaled: Size, side: int) -> "TileGrid":
        """The grid of an image, of its size when it is scaled, and of the side of a tile."""
        return cls(Axis(size[0], scaled[0], side), Axis(size[1], scaled[1], side))

    @property
    def tiles(self) -> list[Tile]:
        """All of them, row by row."""
        rows, columns = (range(len(axis.starts)) for axis in (self.rows, self.columns))
        return list(itertools.product(rows, columns))

    def crop(self, image: np.ndarray, tile: Tile) -> dict[str, np.ndarray]:
        """What a tile is computed from.

        Args:
          image: uint8 `[H, W, 3]`.
          tile: which.

        Returns:
          'image', uint8 `[h, w, 3]`, of one shape for all tiles, with black beyond the image;
          'covered', int32 `[2]`, rows and columns of the tile that the scaled image covers; and
          for each axis which rows or columns of the crop are neighbours of those of the tile,
          'low' and 'high', int32 `[2, side]`, and the weight of the second, 'of_high', float64.
        """
        taps = [axis.taps(i) for axis, i in zip((self.rows, self.columns), tile, strict=True)]
        top, left = (int(low[0]) for low, _, _ in taps)
        found = image[top : top + self.rows.reach, left : left + self.columns.reach]
        crop = np.zeros((self.rows.reach, self.columns.reach, 3), np.uint8)
        crop[: found.shape[0], : found.shape[1]] = found
        return {
            "image": crop,
            "covered": np.array([self.rows.covered(tile[0]), self.columns.covered(tile[1])], "i4"),
            "low": np.stack([low - low[0] for low, _, _ in taps]).astype(np.int32),
            "high": np.stack([high - low[0] for low, high, _ in taps]).astype(np.int32),
            "of_high": np.stack([of_high for _, _, of_high in taps]),
        }

    def blend(self, whole: np.ndarray, tile: Tile, said: np.ndarray) -> None:
        """Adds what a tile says, in its window, to that of the whole image.

        Args:
          whole: `[h, w, C]`, features of the scaled image.
          tile: which.
          said: `[side / stride, side / stride, C]`, features of the tile.
        """
        windows, places = [], []
        for axis, i, samples in zip((self.rows, self.columns), tile, said.shape[:2], strict=True):
            stride = axis.side // samples
            held = -(-axis.covered(i) // stride)
            first = axis.starts[i] // stride
            windows.append(axis.window(i, samples)[:held].astype(whole.dtype))
            places.append(slice(first, first + held))
        rows, columns = windows
        said = said[: len(rows), : len(columns)]
        whole[places[0], places[1]] += said * rows[:, None, None] * columns[:, None]
