"""What labelling tools write beside their masks, as far as it names classes."""

import collections
import dataclasses
from pathlib import Path

from data.files import File

LABEL_MAP = "labelmap.txt"
_MOST_BYTES = 2**20

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
VOC_VOID = 255  # the number of the outlines between objects

Rgb = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Named:
    """A class that a tool names.

    Attributes:
      name: its name.
      colour: its RGB; None if the tool says none.
    """

    name: str
    colour: Rgb | None


def voc_colour(number: int) -> Rgb:
    """RGB of a number in the palette of Pascal VOC: bits 0, 3, 6 make red, from its highest bit on.

    Bits 1, 4, 7 make green, bits 2, 5 make blue (`VOCdevkit/VOCcode/VOClabelcolormap.m`).
    """
    red, green, blue = (
        sum((number >> (3 * step + channel) & 1) << (7 - step) for step in range(8))
        for channel in range(3)
    )
    return red, green, blue


def read_label_map(directory: Path) -> list[Named] | None:
    """Reads CVAT's `labelmap.txt`, lines of `name:red,green,blue:parts:actions`.

    Args:
      directory: where it lies, if it does.

    Returns:
      The classes in the order of the lines; None without the file.

    Raises:
      ValueError: it is none; the message names the line.
    """
    path = directory / LABEL_MAP
    if not path.is_file():
        return None
    data = File(path).read()
    try:
        text = data[:_MOST_BYTES].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 ({error}); save it so, or remove it.") from error
    classes: list[Named] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":") if line.count(":") < 3 else _last_three(line)
        try:
            classes.append(Named(name.strip(), _colour(rest.split(":")[0])))
        except ValueError:
            raise ValueError(
                f"{path}, line {number}: expected name:red,green,blue:parts:actions as CVAT writes"
                " it; correct it, or remove the file."
            ) from None
    _check_distinct(path, classes)
    return classes


def hint(directory: Path) -> str:
    """What to do with a directory that is laid out as a tool exports it; empty if it is not."""
    for pattern, what in _LAYOUTS.items():
        if any(directory.glob(pattern)):
            return what
    return ""


_JSON = "It has JSON files, as of LabelMe or COCO, which are not read: convert them to masks first."
_LAYOUTS = {
    "SegmentationClass": (
        "It is laid out like Pascal VOC, as CVAT exports 'Segmentation mask 1.1': make a directory"
        " in which images/train links to JPEGImages and masks/train to SegmentationClass, without"
        f" the images that have no mask, and put {LABEL_MAP} there, too (see docs/data.md)."
    ),
    "annotations.xml": (
        "It looks like CVAT's XML, which is not read: export 'Segmentation mask 1.1' from CVAT."
    ),
    "meta.json": (
        "It looks like a project of Supervisely, which is not read: export or convert it to masks"
        " first."
    ),
    "*.json": _JSON,
    "*/*.json": _JSON,
}


def _last_three(line: str) -> tuple[str, str, str]:
    """A name, which may hold colons, and what follows it."""
    name, colour, parts, actions = line.rsplit(":", 3)
    return name, ":", f"{colour}:{parts}:{actions}"


def _colour(text: str) -> Rgb | None:
    if not text.strip():
        return None
    red, green, blue = map(int, text.split(","))
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError
    return red, green, blue


def _check_distinct(path: Path, classes: list[Named]) -> None:
    """Raises ValueError for no class, a name that is none, and names or colours that come twice."""
    if not classes or not all(named.name for named in classes):
        raise ValueError(f"{path}: expected the name of a class in each line; or remove the file.")
    names = collections.Counter(named.name for named in classes)
    colours = collections.Counter(str(named.colour) for named in classes if named.colour)
    (most, times), *_ = (names + colours).most_common(1)
    if times > 1:
        raise ValueError(f"{path}: {most} comes {times} times; correct it, or remove the file.")
