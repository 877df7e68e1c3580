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
is refused. `python main.py check-data` reads everything and tells what is there and what is wrong;
with `--propose` it looks at the masks and writes a `classes.json` to edit.

Masks may show the classes in colours instead, if the list says so:

    {"masks": "colors",
     "classes": [{"name": "road", "color": [128, 64, 128]}, {"name": "sky", "color": [0, 0, 255]}],
     "ignore": [[0, 0, 0], "transparent"]}

Then a mask is an 8-bit RGB, RGBA or palette PNG. Each class has a "color" of its own, "ignore"
lists colours of no class, and any other colour, be it near to one, is refused. Pixels of alpha 0
are "transparent", whatever their colour; others have to be opaque. What is built and predicted
holds numbers also then: the "id" of a class, by default its position. "masks" is "ids" by default:
of a palette PNG the indices count then, and its colours say nothing.
"""

import colorsys
from pathlib import Path

import tensorflow_datasets as tfds

from data import class_list
from data.checks import Colours, Listing
from data.class_list import COLOURS, IDS, ClassList
from data.directory import DirectoryBuilder
from data.files import File, read_json
from data.label_reader import ColourReader, NumberReader
from data.label_spec import LabelSpec
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
        """The colours that `classes.json` names for ids, but not those that it leaves open."""
        listed, _ = class_list.parse(read_json(directory / "classes.json", _LAYOUT))
        if listed.masks == COLOURS:
            return {}  # a palette has no other meaning than its colours
        named = zip(listed.numbers, listed.classes, strict=True)
        return {number: tuple(entry["color"]) for number, entry in named if "color" in entry}

    @classmethod
    def label_reader(cls, directory: Path) -> NumberReader | ColourReader:
        """What reads the masks, by numbers or by colours as `classes.json` says."""
        listed, _ = class_list.parse(read_json(directory / "classes.json", _LAYOUT))
        if listed.masks == IDS:
            of_colours = f'(for RGB ones add "masks": "{COLOURS}" to classes.json)'
            return NumberReader(f"{NumberReader.forms} {of_colours}")
        other = min(listed.ignored_numbers)
        values = dict(zip(listed.colours, listed.numbers, strict=True))
        return ColourReader({**dict.fromkeys(listed.ignored_colours, other), **values}, other)

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
        raise FileNotFoundError(
            f"{path} is missing; it lists the classes. {_LAYOUT} `python main.py check-data"
            " --propose` looks at the masks and writes one to edit."
        )
    listed, problems = class_list.parse(read_json(path, _LAYOUT))
    if problems:
        raise ValueError("\n  ".join([f"{path} cannot be used. {_LAYOUT}", *problems]))
    palette = [
        tuple(entry.get("color", _colour(position)))
        for position, entry in enumerate(listed.classes)
    ]
    names = [entry["name"] for entry in listed.classes]
    return LabelSpec.of_raw_values(names, palette, listed.numbers, listed.ignored_numbers)


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
    return class_list.text_of(ClassList(IDS, classes, sorted(set(ignored))))


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


def _colour(position: int) -> tuple[int, int, int]:
    """A colour for a class that has none: neighbours far apart on the wheel, three brightnesses."""
    hue = position * 0.618034 % 1  # the golden section never comes back near a hue soon
    value = (1.0, 0.75, 0.5)[position % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, value))
    return red, green, blue
