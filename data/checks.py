"""What can be wrong with a data set's files, found before anything is built from them."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from data import parallel
from data.files import READ_ERRORS, File
from data.legend import Legend
from data.pixels import decode_label

# Pillow raises SyntaxError for a broken PNG.
_DAMAGE = (*READ_ERRORS, ValueError, SyntaxError, Image.DecompressionBombError)
# How a whole file ends; some cameras write a little after it.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 64
_SHOWN = 5  # of each kind of problem, in an error


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of problem: '7 images without a label: ... Expected ...'."""

    noun: str
    fault: str
    remedy: str
    is_missing: bool = False


NO_LABEL = Kind(
    "image",
    "without a label",
    "Expected a label for every image: add the labels or remove the images.",
    is_missing=True,
)
NO_IMAGE = Kind(
    "label",
    "without an image",
    "Expected an image for every label: add the images or remove the labels.",
    is_missing=True,
)
SAME_NAME = Kind("file", "of another's name", "Expected one image and one label of each name.")
UNREADABLE = Kind(
    "file",
    "unreadable",
    "Expected JPEG or PNG images and 8-bit grey or palette PNG labels: replace the files.",
)
UNEQUAL = Kind(
    "pair",
    "of unequal size",
    "Expected a label as large as its image: resize the label (nearest neighbour) or replace it.",
)
FOREIGN = Kind(
    "label", "with a value that is no class", "Expected {values}: renumber the labels.{hint}"
)
_KINDS = (NO_LABEL, NO_IMAGE, SAME_NAME, UNREADABLE, UNEQUAL, FOREIGN)


class Problems:
    """Collects what is wrong with a data set, to be told all at once.

    Args:
      values: what its labels may hold, in words.
      hint: what else to say of other values.
    """

    def __init__(self, values: str, hint: str = ""):
        self._facts = {"values": values, "hint": hint and f" {hint}"}
        self._found = {kind: [] for kind in _KINDS}

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def add(self, kind: Kind, what: str) -> None:
        """Takes a problem of a kind: which file, and what of it."""
        self._found[kind].append(what)

    def listed(self) -> Iterator[tuple[str, list[str], str]]:
        """Yields a heading, what was found, and what to do, for each kind that occurs."""
        for kind, found in self._found.items():
            if found:
                plural = kind.noun if len(found) == 1 else f"{kind.noun}s"
                heading = f"{len(found)} {plural} {kind.fault}"
                yield heading, found, kind.remedy.format(**self._facts)

    def refuse(self, title: str) -> None:
        """Raises unless there are none.

        Args:
          title: what the problems stand in the way of.

        Raises:
          FileNotFoundError: if files are missing.
          ValueError: if other things are wrong.
        """
        if not self:
            return
        missing = any(found and kind.is_missing for kind, found in self._found.items())
        lines = [
            f"{heading}: {_first(found)}. {remedy}" for heading, found, remedy in self.listed()
        ]
        raise (FileNotFoundError if missing else ValueError)(
            "\n  ".join([f"{title} (`python main.py check-data` lists all):", *lines])
        )


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its label.

    Attributes:
      name: the id of the record.
      image: the image's file.
      label: the label's file; None in a split without labels.
    """

    name: str
    image: File
    label: File | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a split as (name, file); an image and a label of one name belong together.

    Attributes:
      images: the images.
      labels: the labels; None in a split without labels.
    """

    images: list[tuple[str, File]]
    labels: list[tuple[str, File]] | None


def match(listing: Listing, problems: Problems) -> list[Pair]:
    """Brings images and labels together, in the order of their names."""
    images = _by_name(listing.images, problems)
    if listing.labels is None:
        return [Pair(name, images[name], None) for name in sorted(images)]
    labels = _by_name(listing.labels, problems)
    for name in sorted(images.keys() - labels.keys()):
        problems.add(NO_LABEL, str(images[name]))
    for name in sorted(labels.keys() - images.keys()):
        problems.add(NO_IMAGE, str(labels[name]))
    return [Pair(name, images[name], labels[name]) for name in sorted(images.keys() & labels)]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a pair's files hold.

    Attributes:
      size: width and height of the image; None if it is unreadable.
      counts: int64 `[256]`, pixels of the label by value; None without a readable label.
      problems: the kind of each, and the text.
    """

    size: tuple[int, int] | None
    counts: np.ndarray | None
    problems: tuple[tuple[Kind, str], ...]


def inspect(
    pairs: Iterable[Pair], total: int, legend: Legend, *, whole: bool, description: str
) -> Iterator[Finding]:
    """Reads pairs in threads, under a progress bar.

    Args:
      pairs: the pairs.
      total: how many.
      legend: says which values labels may hold.
      whole: whether to decode images to the end, too. Labels are always; of images, else, the
        header is read, and the end looked at where that costs nothing.
      description: stands before the bar.

    Yields:
      What was found in each pair, in order.
    """
    look = functools.partial(_inspect, known=frozenset(legend.values), whole=whole)
    yield from parallel.track(parallel.in_order(look, pairs), total, description)


def _inspect(pair: Pair, *, known: frozenset[int], whole: bool) -> Finding:
    problems = []
    size = label = counts = None
    try:
        size = _image_size(pair.image, whole)
    except _DAMAGE as error:
        problems.append((UNREADABLE, f"{pair.image} ({error})"))
    if pair.label is not None:
        try:
            with pair.label.open() as stream:
                label = decode_label(stream.read())
        except _DAMAGE as error:
            problems.append((UNREADABLE, f"{pair.label} ({error})"))
    if label is not None:
        counts = np.bincount(label.ravel(), minlength=256)
        foreign = [str(value) for value in np.flatnonzero(counts) if value not in known]
        if foreign:
            problems.append((FOREIGN, f"{pair.label} holds {', '.join(foreign)}"))
    if size is not None and label is not None and size != label.shape[::-1]:
        height, width = label.shape
        problems.append(
            (UNEQUAL, f"{pair.image} {size[0]}x{size[1]}, {pair.label} {width}x{height}")
        )
    return Finding(size, counts, tuple(problems))


def _image_size(file: File, whole: bool) -> tuple[int, int]:
    """(width, height) of an image; raises one of `_DAMAGE` where it is not a whole JPEG or PNG."""
    with file.open() as stream, Image.open(stream) as image:
        if image.format not in ("JPEG", "MPO", "PNG"):
            raise ValueError(f"it is a {image.format} file")
        if whole or not _seems_whole(file, image.format):
            image.load()
        return image.size


def _seems_whole(file: File, form: str) -> bool:
    tail = file.tail(_TAIL)
    return tail is None or _ENDS.get(form, b"") in tail


def _by_name(files: list[tuple[str, File]], problems: Problems) -> dict[str, File]:
    named = {}
    for name, file in files:
        if name in named:
            problems.add(SAME_NAME, f"{file}, {named[name]}")
        named.setdefault(name, file)
    return named


def _first(found: list[str]) -> str:
    """'a, b, c, d, e and 2 more'."""
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{', '.join(found[:_SHOWN])}{more}"
