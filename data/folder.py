"""Any data of one's own: a directory of images, one of masks, and a list of classes.

    DIR/images/{train,validation,test}/.../NAME.jpg (or .jpeg, .png)
    DIR/masks/{train,validation,test}/.../NAME.png
    DIR/classes.json

A mask has the name of its image and lies in a folder of the same name; it is an 8-bit grey or
palette PNG with the number of a class in each pixel, drawn over the image as it is displayed.
Folders may be links. Every split is optional; images of the test split may go without masks and are
ignored then. `classes.json` lists the classes:

    {"classes": [{"name": "road", "color": [128, 64, 128], "id": 7}, {"name": "sky"}],
     "ignore": [0, 255]}

"id" is the number in the masks, by default the position in the list. "color" may be left out.
"ignore", by default [255], lists the numbers of pixels that belong to no class; any other number
is refused. `python main.py check-data` reads everything and tells what is there and what is wrong.
"""

import colorsys
import json
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import tensorflow_datasets as tfds

from data.checks import Colours, Listing
from data.directory import DirectoryBuilder
from data.files import File, is_utf8, read_json
from data.label_spec import IGNORE, LabelSpec
from data.tree import (
    HIDDEN,
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    LeftOut,
    describe,
    entries,
    named_files,
)

SPLITS = ("train", "validation", "test")
_LAYOUT = "The layout is described at the top of data/folder.py."
_FIELDS = {"name", "color", "id"}


class Folder(DirectoryBuilder):
    """Images and masks of the user's."""

    name = "folder"
    VERSION = tfds.core.Version("1.0.0")
    CLASSES_IN_DIR = True
    VALUES_HINT = "Or add the value to classes.json."

    @classmethod
    def label_spec(cls, directory: Path) -> LabelSpec:  # type: ignore[override]
        """What `classes.json` says.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if it is wrong; everything that is, is listed.
        """
        return read_classes(directory / "classes.json")

    @classmethod
    def side_files(cls, directory: Path) -> tuple[Path, ...]:  # type: ignore[override]
        return (directory / "classes.json",)

    @classmethod
    def colours(cls, directory: Path) -> Colours:
        """The colours that `classes.json` names, but not those that it leaves to the project."""
        classes, _, _ = _parts(read_json(directory / "classes.json", _LAYOUT))
        named = zip(_numbers(classes), classes, strict=True)
        return {number: tuple(entry["color"]) for number, entry in named if "color" in entry}

    @classmethod
    def listing(cls, directory: Path) -> tuple[dict[str, Listing], list[LeftOut]]:
        """The files of each split of which there are images or masks, and what is left out.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if a folder has the name of no split.
          PermissionError: if a folder may not be read.
        """
        listings, left_out = {}, _check_folders(directory)
        for split in SPLITS:
            images, no_images = named_files(directory / "images" / split, IMAGE_SUFFIXES)
            masks, no_masks = named_files(directory / "masks" / split, LABEL_SUFFIXES)
            without_masks = split == "test" and not masks
            left_out += [*no_images, *no_masks]
            if images or masks:
                listings[split] = Listing(images, None if without_masks else masks)
        if not listings:
            beside = f" ({describe(left_out)})" if left_out else ""
            raise FileNotFoundError(
                f"{directory}: no image in images/{{{','.join(SPLITS)}}}{beside}. Put them there, "
                f"or correct --config.data.dir. {_LAYOUT}"
            )
        return listings, left_out


def read_classes(path: Path) -> LabelSpec:
    """Reads a list of classes.

    Args:
      path: of a JSON file as the top of this file describes it.

    Returns:
      The label spec of the masks.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is wrong; everything that is, is listed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; it lists the classes. {_LAYOUT}")
    classes, ignored, problems = _parts(read_json(path, _LAYOUT))
    if not problems:
        problems = _class_problems(classes) + _number_problems(classes, ignored)
    if problems:
        raise ValueError("\n  ".join([f"{path} cannot be used. {_LAYOUT}", *problems]))
    palette = [
        tuple(entry.get("color", _colour(position))) for position, entry in enumerate(classes)
    ]
    return LabelSpec.of_raw_values(
        [entry["name"] for entry in classes], palette, _numbers(classes), ignored
    )


def classes_text(label_spec: LabelSpec) -> str:
    """What `classes.json` says of a label spec: `read_classes` makes the same label spec of it."""
    classes = [
        {"name": name, "color": list(colour), "id": value}
        for name, colour, value in zip(
            label_spec.names, label_spec.palette, label_spec.class_values, strict=True
        )
    ]
    used = {entry["id"] for entry in classes}
    ignored = [
        value for value in (*label_spec.values, label_spec.uncertain_value) if value not in used
    ]
    lines = ",\n  ".join(map(json.dumps, classes))
    return f'{{"classes": [\n  {lines}],\n "ignore": {json.dumps(sorted(set(ignored)))}}}\n'


def _check_folders(directory: Path) -> list[LeftOut]:
    """Raises ValueError for what has the name of no split; returns what is hidden."""
    found = [
        path
        for kind in ("images", "masks")
        if (directory / kind).is_dir()
        for path, _, _ in entries(directory / kind)
        if path.name not in SPLITS
    ]
    strange = [path for path in found if not path.name.startswith(".")]
    if strange:
        raise ValueError(
            f"{', '.join(str(File(path)) for path in strange[:5])}: expected only the folders "
            f"{', '.join(SPLITS)} there; rename or move what is not a split. {_LAYOUT}"
        )
    return [LeftOut(File(path), HIDDEN) for path in found]


def _parts(content: Any) -> tuple[Any, Any, list[str]]:
    """The classes, the numbers to ignore, and what is wrong with either as a whole."""
    if not isinstance(content, dict):
        return [], [], ['expected an object with a list "classes"']
    problems = [
        f'"{key}": no such field; expected "classes" and "ignore"'
        for key in content
        if key not in ("classes", "ignore")
    ]
    classes, ignored = content.get("classes"), content.get("ignore", [IGNORE])
    if not isinstance(classes, list) or not 1 <= len(classes) <= IGNORE:
        problems.append(f'"classes": expected a list of 1 to {IGNORE} classes')
    elif not all(isinstance(entry, dict) for entry in classes):
        problems.append('"classes": expected objects like {"name": "road"}')
    if not isinstance(ignored, list) or not all(map(_is_byte, ignored)):
        problems.append(f'"ignore" is {brief(ignored)}; expected a list of numbers from 0 to 255')
    return classes, ignored, problems


def _class_problems(classes: list[dict]) -> list[str]:
    problems, names = [], set()
    for position, entry in enumerate(classes):
        where = f'"classes"[{position}]'
        name, colour = entry.get("name"), entry.get("color", [0, 0, 0])
        problems += [
            f'{where}: "{key}" is no field; expected "name", "color", "id"'
            for key in entry
            if key not in _FIELDS
        ]
        if not isinstance(name, str) or name.splitlines() != [name] or not is_utf8(name):
            problems.append(f'{where}: "name" is {brief(name)}; expected a line of text')
        elif name in names:
            problems.append(f'{where}: "name" is {name!r}, as of a class before')
        else:
            names.add(name)
        if not isinstance(colour, list) or len(colour) != 3 or not all(map(_is_byte, colour)):
            problems.append(
                f'{where}: "color" is {brief(colour)}; expected [red, green, blue], 0..255'
            )
    return problems


def _number_problems(classes: list[dict], ignored: list[int]) -> list[str]:
    problems, taken = [], dict.fromkeys(ignored, '"ignore"')
    for position, number in enumerate(_numbers(classes)):
        where = f'"classes"[{position}]'
        if not _is_byte(number):
            problems.append(f'{where}: "id" is {brief(number)}; expected a number from 0 to 255')
        elif number in taken:
            problems.append(f'{where}: "id" is {number}, as in {taken[number]}')
        else:
            taken[number] = where
    return problems


def _numbers(classes: list[dict]) -> list:
    return [entry.get("id", position) for position, entry in enumerate(classes)]


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _colour(position: int) -> tuple[int, int, int]:
    """A colour for a class that has none: neighbours far apart on the wheel, three brightnesses."""
    hue = position * 0.618034 % 1  # the golden section never comes back near a hue soon
    value = (1.0, 0.75, 0.5)[position % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, value))
    return red, green, blue
