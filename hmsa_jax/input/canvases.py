"""Which shapes of arrays images of many sizes share, so that few programs are compiled."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from hmsa_jax.models.layers.canvas import MULTIPLE, Size

MOST = 4  # programs that are worth compiling for images of many sizes
_MOST_COMPARED = 256  # shapes of which all pairs are compared


@dataclasses.dataclass(frozen=True)
class Canvases:
    """Shapes of arrays for images of given sizes.

    Attributes:
      of: rows and columns of an image -> those of its canvas, neither of them smaller.
      counts: rows and columns of an image -> how many images have them.
    """

    of: Mapping[Size, Size]
    counts: Mapping[Size, int]

    @property
    def filled(self) -> frozenset[Size]:
        """The canvases that all their images fill."""
        partly = {canvas for size, canvas in self.of.items() if size != canvas}
        return frozenset(set(self.of.values()) - partly)

    @property
    def padding(self) -> float:
        """The share of the pixels of all canvases that lie outside of images."""
        inside = sum(count * size[0] * size[1] for size, count in self.counts.items())
        canvases = ((self.of[size], count) for size, count in self.counts.items())
        return 1 - inside / sum(count * rows * columns for (rows, columns), count in canvases)

    def describe(self) -> str:
        """For a user: how many sizes share which canvases, and what that costs."""
        shapes = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(set(self.of.values())))
        return (
            f"{len(self.of)} sizes of images share canvases of {shapes} pixels;"
            f" {self.padding:.1%} of their pixels are padding"
        )


def choose(sizes: Iterable[Size], most: int) -> Canvases:
    """Canvases for images of these sizes.

    As few sizes as there may be canvases each get a program of their own. Of more, those two
    groups are joined, again and again, that add the least padding. In the end each size takes the
    smallest canvas that holds it, and each canvas is cut to the sizes that it has.

    Args:
      sizes: rows and columns of each image.
      most: canvases that there may be.

    >>> choose([(30, 40), (30, 40), (31, 40), (200, 160)], 2).of
    {(30, 40): (32, 64), (31, 40): (32, 64), (200, 160): (200, 160)}
    """
    counts = collections.Counter(sizes)
    if len(counts) <= most:
        return Canvases({size: size for size in counts}, counts)
    shapes = _joined(_rounded(counts), most)
    by_area = sorted(shapes, key=lambda shape: shape[0] * shape[1])
    members: dict[Size, list[Size]] = {}
    for size in counts:
        holds = next(s for s in by_area if size[0] <= s[0] and size[1] <= s[1])
        members.setdefault(holds, []).append(size)
    of = {size: _cut(group) for group in members.values() for size in group}
    return Canvases({size: of[size] for size in counts}, counts)


def _cut(sizes: list[Size]) -> Size:
    """The smallest canvas of some sizes: a single one fills it."""
    if len(sizes) == 1:
        return sizes[0]
    rows, columns = np.max(sizes, axis=0)
    return _up(rows, MULTIPLE), _up(columns, MULTIPLE)


def _rounded(counts: Mapping[Size, int]) -> dict[Size, int]:
    """Sizes rounded up until they are few enough to be compared -> how many images have them."""
    multiple = MULTIPLE
    while True:
        rounded: collections.Counter[Size] = collections.Counter()
        for (rows, columns), count in counts.items():
            rounded[_up(rows, multiple), _up(columns, multiple)] += count
        if len(rounded) <= _MOST_COMPARED:
            return rounded
        multiple *= 2


def _joined(counts: Mapping[Size, int], most: int) -> list[Size]:
    shapes = np.array(list(counts), np.float64)
    images = np.array(list(counts.values()), np.float64)
    while len(shapes) > most:
        pixels = shapes.prod(1) * images
        union = np.maximum(shapes[:, None], shapes[None]).prod(-1)
        added = union * (images[:, None] + images) - pixels[:, None] - pixels
        np.fill_diagonal(added, np.inf)
        kept, gone = sorted(map(int, np.unravel_index(added.argmin(), added.shape)))
        shapes[kept] = np.maximum(shapes[kept], shapes[gone])
        images[kept] += images[gone]
        shapes, images = np.delete(shapes, gone, 0), np.delete(images, gone)
    return [(int(rows), int(columns)) for rows, columns in shapes]


def _up(length: int, multiple: int) -> int:
    return int(-(-length // multiple) * multiple)
