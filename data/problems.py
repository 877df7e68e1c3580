"""What there is to say of a data set's files, by kind: what is wrong, and what is to be known."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from data import tree
from data.label_reader import NumberReader, list_others

_SHOWN = 5  # of each kind, where not all are listed


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of problem: '7 images without a label: ... Expected ...'.

    Attributes:
      noun: what has it, in the singular.
      fault: what is the matter with it.
      remedy: what was expected, and what to do.
      is_missing: whether it is a file that is missing.
      is_remark: whether the data set can be used all the same.
      is_frequent: whether a few examples say as much as a list.
      lines: to lines from all that was found, where that is no text.
    """

    noun: str
    fault: str
    remedy: str
    is_missing: bool = False
    is_remark: bool = False
    is_frequent: bool = False
    lines: Callable[[list], list[str]] | None = None


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
BAD_NAME = Kind("file", "with a name that is not UTF-8", "Rename the files, or convert the names.")
UNREADABLE = Kind(
    "file",
    "unreadable",
    "Expected JPEG or PNG images and {labels}: replace the files.",
)
UNEQUAL = Kind(
    "pair",
    "of unequal size",
    "Expected a label as large as its image: resize the label (nearest neighbour) or replace it.",
)
FOREIGN = Kind(
    "label", "with a value that is no class", "Expected {values}: renumber the labels.{hint}"
)
FOREIGN_COLOURS = Kind(
    "label",
    "with colours that are no class",
    "Expected exactly the colours of the classes. Smooth edges, resizing or JPEG make others: paint"
    " the labels anew without. Or add the colours to classes.json.",
    lines=list_others,
)
TURNED = Kind(
    "image",
    "turned as EXIF says",
    "They are used as they are displayed; a label has to lie over what is displayed.",
    is_remark=True,
    is_frequent=True,
)
AS_STORED = Kind(
    "image",
    "not turned as EXIF says",
    "Their labels have the size of the stored pixels, so these are used as they are stored.",
    is_remark=True,
    is_frequent=True,
)
DAMAGED = Kind(
    "image",
    "decoded in part",
    "The decoder complains of them, and fills in what it does not find: look at them.",
    is_remark=True,
)
OTHER_COLOURS = Kind(
    "label",
    "with a palette of other colours than the classes have",
    "Only the numbers count: make sure that they are those of the classes.",
    is_remark=True,
    is_frequent=True,
)
LEFT_OUT = {
    reason: Kind("file", f"left out, {reason}", remedy, is_remark=True)
    for reason, remedy in (
        (tree.HIDDEN, "Names that start with a dot are not read; nor are folders of such names."),
        (tree.OTHER_NAME, "They are not read; convert pictures of other formats to PNG."),
        (tree.SPECIAL, "They are never opened."),
        (tree.LOOP, "They are not followed, for they would never end."),
        (tree.EMPTY, "If files were meant, put them there."),
    )
}
_KINDS = (
    NO_LABEL,
    NO_IMAGE,
    SAME_NAME,
    BAD_NAME,
    UNREADABLE,
    UNEQUAL,
    FOREIGN,
    FOREIGN_COLOURS,
    TURNED,
    AS_STORED,
    DAMAGED,
    OTHER_COLOURS,
    *LEFT_OUT.values(),
)


class Problems:
    """Collects what there is to say of a data set, to be told all at once.

    Args:
      values: what its labels may hold, in words.
      hint: what else to say of other values.
      labels: which files its labels may be, in words.
    """

    def __init__(self, values: str, hint: str = "", labels: str = NumberReader.forms):
        self._facts = {"values": values, "hint": hint and f" {hint}", "labels": labels}
        self._found: dict[Kind, list] = {kind: [] for kind in _KINDS}

    def __len__(self) -> int:
        """How many there are, remarks not counted."""
        return sum(len(found) for kind, found in self._found.items() if not kind.is_remark)

    def add(self, kind: Kind, what: Any) -> None:
        """Takes something of a kind: which file, and what of it, in a text or as `lines` needs."""
        self._found[kind].append(what)

    def listed(self, *, remarks: bool) -> Iterator[tuple[str, list[str], str]]:
        """Yields a heading, what was found, and what to do, for each kind that occurs.

        Args:
          remarks: whether to yield what is to be known rather than what is wrong.
        """
        for kind, found in self._found.items():
            if found and kind.is_remark == remarks:
                plural = kind.noun if len(found) == 1 else f"{kind.noun}s"
                heading = f"{len(found)} {plural} {kind.fault}"
                shown = kind.lines(found) if kind.lines else found
                shown = _first(shown) if kind.is_frequent else shown
                yield heading, shown, kind.remedy.format(**self._facts)

    def refuse(self, title: str) -> None:
        """Raises unless nothing is wrong.

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
            f"{heading}: {', '.join(_first(found))}. {remedy}"
            for heading, found, remedy in self.listed(remarks=False)
        ]
        raise (FileNotFoundError if missing else ValueError)(
            "\n  ".join([f"{title} (`python main.py check-data` lists all):", *lines])
        )


def _first(found: list[str]) -> list[str]:
    """The first ones; the last of these says how many more there are."""
    if len(found) <= _SHOWN:
        return found
    return [*found[: _SHOWN - 1], f"{found[_SHOWN - 1]} and {len(found) - _SHOWN} more"]
