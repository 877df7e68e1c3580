"""Where the classes lie: the centroid of each class in every tile of every image.

Class-uniform sampling places its crops around them (paper, section 5.1, after its reference [29]).
They are found once for a data set and kept beside it.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data.files import READ_ERRORS
from hmsa_jax.input import decoding
from hmsa_jax.input.source import Source
from hmsa_jax.runtime import locks, parallel, storage
from hmsa_jax.runtime.files import atomic_path
from hmsa_jax.runtime.progress import tell, track

_VERSION = 1  # of the centroids that `of_label` finds: another one finds those that are kept anew


@dataclasses.dataclass(frozen=True, eq=False)
class Centroids:
    """The centroids of all classes.

    Attributes:
      places: record, row and column of each centroid, class by class, int32 `[n, 3]`.
      starts: the centroids of class c are `places[starts[c] : starts[c + 1]]`, int64
        `[classes + 1]`.
    """

    places: np.ndarray
    starts: np.ndarray

    def of_class(self, number: int) -> np.ndarray:
        """Record, row and column of the centroids of a class, int32 `[n, 3]`."""
        return self.places[self.starts[number] : self.starts[number + 1]]

    @functools.cached_property
    def occurring(self) -> np.ndarray:
        """The classes that have centroids, int `[n]`."""
        return np.flatnonzero(np.diff(self.starts))

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """Draws a class among those that occur, then one of its centroids, both uniformly.

        Args:
          rng: the source of chance; two numbers are drawn.

        Returns:
          The record, and row and column of the centroid.
        """
        places = self.of_class(rng.choice(self.occurring))
        record, row, column = map(int, places[rng.integers(len(places))])
        return record, (row, column)

    def renumbered(self, first: int) -> "Centroids":
        """The same of records that are numbered from `first` on."""
        return Centroids(self.places + np.array([first, 0, 0], np.int32), self.starts)

    def with_classes_of(self, other: "Centroids", classes: Sequence[int]) -> "Centroids":
        """These, and those of some classes that other records of the same numbering have."""
        parts = [
            np.concatenate([self.of_class(number), other.of_class(number)])
            if number in classes
            else self.of_class(number)
            for number in range(len(self.starts) - 1)
        ]
        return Centroids(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


def of_label(label: np.ndarray, *, tile: int, classes: int) -> np.ndarray:
    """Finds the centroid of every class in every tile of one image.

    Tiles are squares from the top left corner on; the last ones are cut off by the border, so that
    an image smaller than a tile is one tile.

    Args:
      label: class numbers, uint8 `[H, W]`; a number that is no class is ignored.
      tile: height and width of a tile, in pixels.
      classes: the number of classes.

    Returns:
      Class, row and column, int32 `[n, 3]`: the mean place of the class's pixels in the tile,
      rounded to a pixel of the image, which need not be of that class.
    """
    found = [
        (number, top + row, left + column)
        for top in range(0, label.shape[0], tile)
        for left in range(0, label.shape[1], tile)
        for number, row, column in _of_tile(label[top : top + tile, left : left + tile], classes)
    ]
    return np.array(found, np.int32).reshape(-1, 3)


def prepare(
    source: Source,
    directory: Path,
    *,
    split: str,
    tile: int,
    classes: Sequence[str],
    title: str = "",
) -> Centroids:
    """Reads the centroids of a split, or finds and keeps them; names the classes without any.

    Several processes may call this at once; one finds them, the others wait. A file that is damaged
    is written anew.

    Args:
      source: the records of the split.
      directory: where centroids of this data set are kept, and of no other.
      split: what selects the records from the data set.
      tile: height and width of a tile, in pixels.
      classes: names of the classes.
      title: what messages call the split; its name if empty.

    Returns:
      The centroids.

    Raises:
      ValueError: if a label cannot be decoded, or the source is empty.
    """
    storage.make_directory(directory)
    path = directory / f"tile{tile}-{_key(source, split, tile, len(classes))}.npz"
    centroids = _read(path, len(source), len(classes))
    if centroids is None:
        with locks.waiting_for(directory / "lock"):
            centroids = _read(path, len(source), len(classes))  # which another may have found
            if centroids is None:
                centroids = _find(source, title or split, tile, len(classes))
                with atomic_path(path) as partial, partial.open("wb") as file:
                    np.savez_compressed(file, places=centroids.places, starts=centroids.starts)
    _report_absent(centroids, title or split, classes)
    return centroids


def _of_tile(label: np.ndarray, classes: int) -> Iterator[tuple[int, int, int]]:
    """Yields class, row and column in a tile `[h, w]`. OpenCV lets other threads run meanwhile."""
    histogram = cv2.calcHist([label], [0], None, [256], [0, 256]).ravel()
    for number in map(int, np.flatnonzero(histogram[:classes])):
        # Sums of ones and of their places: whole numbers, which float64 holds exactly.
        moments = cv2.moments(cv2.inRange(label, number, number), binaryImage=True)
        row, column = (math.floor(moments[m] / moments["m00"] + 0.5) for m in ("m01", "m10"))
        yield number, row, column


def _find(source: Source, title: str, tile: int, classes: int) -> Centroids:
    def of_record(index: int) -> np.ndarray:
        label = decoding.decode_label(source[index])
        return of_label(label, tile=tile, classes=classes)

    found = list(
        track(
            parallel.in_order(of_record, range(len(source))),
            len(source),
            f"Finding the classes of {title}",
        )
    )
    records = np.repeat(np.arange(len(found), dtype=np.int32), [len(places) for places in found])
    numbers, rows, columns = np.concatenate(found).T
    order = np.argsort(numbers, kind="stable")
    return Centroids(
        places=np.stack([records, rows, columns], axis=-1)[order],
        starts=np.searchsorted(numbers[order], np.arange(classes + 1)),
    )


def _key(source: Source, split: str, tile: int, classes: int) -> str:
    """A hash of all that centroids depend on, but for the data set as it is stored."""
    if not len(source):
        raise ValueError(f"split {split!r}: expected at least one record, got none.")
    train_ids = source[0].get("train_ids")
    parts = (_VERSION, split, len(source), tile, classes, train_ids)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _read(path: Path, records: int, classes: int) -> Centroids | None:
    """The centroids that are kept; None if there are none, or they are damaged."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            centroids = Centroids(places=file["places"], starts=file["starts"])
    except (*READ_ERRORS, KeyError, ValueError):
        return None
    return centroids if _is_whole(centroids, records, classes) else None


def _is_whole(centroids: Centroids, records: int, classes: int) -> bool:
    places, starts = centroids.places, centroids.starts
    return (
        starts.shape == (classes + 1,)
        and places.shape == (starts[-1], 3)
        and starts[0] == 0
        and bool((np.diff(starts) >= 0).all())
        and bool(((places >= 0) & (places[:, :1] < records)).all())
    )


def _report_absent(centroids: Centroids, title: str, classes: Sequence[str]) -> None:
    occurring = set(centroids.occurring)
    absent = [name for number, name in enumerate(classes) if number not in occurring]
    if absent:
        tell(
            f"Class-uniform crops of {title} leave out what {title} has no pixel of:"
            f" {', '.join(absent)}."
        )
