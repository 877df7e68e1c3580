"""A list of classes as `classes.json` has it; the top of `data/folder.py` describes it."""

import dataclasses
import json
from reprlib import repr as brief
from typing import Any

from data.files import is_utf8
from data.label_reader import TRANSPARENT, Rgba
from data.label_spec import IGNORE

# What "masks" may be.
IDS, COLOURS = "ids", "colors"
CLEAR = "transparent"  # in "ignore"

_FIELDS = {"name", "color", "id"}


@dataclasses.dataclass(frozen=True)
class ClassList:
    """The fields of a `classes.json`, as they stand there or by default.

    Attributes:
      masks: whether masks hold `IDS` or `COLOURS`.
      classes: an entry of each class.
      ignored: numbers; of masks of colours also colours, or `CLEAR`.
    """

    masks: str
    classes: list[dict]
    ignored: list

    @property
    def numbers(self) -> list[int]:
        """The number of each class."""
        return [entry.get("id", position) for position, entry in enumerate(self.classes)]

    @property
    def ignored_numbers(self) -> list[int]:
        """Those in "ignore"; of colours at least one, which stands for them where it is built."""
        numbers = [item for item in self.ignored if _is_byte(item)]
        if numbers or self.masks == IDS:
            return numbers
        taken = [number for number in self.numbers if _is_byte(number)]
        return [max(set(range(256)).difference(taken))]

    @property
    def colours(self) -> list[Rgba]:
        """The colour of each class; all have one in masks of colours."""
        return [_opaque(entry["color"]) for entry in self.classes]

    @property
    def ignored_colours(self) -> list[Rgba]:
        """Those in "ignore"."""
        named = [TRANSPARENT] if CLEAR in self.ignored else []
        return [*named, *(_opaque(item) for item in self.ignored if _is_colour(item))]


def parse(content: Any) -> tuple[ClassList, list[str]]:
    """Reads what a `classes.json` holds.

    Args:
      content: of the file.

    Returns:
      The list of classes, and a line for each thing that is wrong; it is of use if nothing is.
    """
    if not isinstance(content, dict):
        return ClassList(IDS, [], []), ['expected an object with a list "classes"']
    problems = [
        f'"{key}": no such field; expected "classes", "ignore" and "masks"'
        for key in content
        if key not in ("classes", "ignore", "masks")
    ]
    classes: Any = content.get("classes")
    class_list = ClassList(content.get("masks", IDS), classes, content.get("ignore", [IGNORE]))
    if class_list.masks not in (IDS, COLOURS):
        problems.append(f'"masks" is {brief(class_list.masks)}; expected "{IDS}" or "{COLOURS}"')
    if not isinstance(class_list.classes, list) or not 1 <= len(class_list.classes) <= IGNORE:
        problems.append(f'"classes": expected a list of 1 to {IGNORE} classes')
    elif not all(isinstance(entry, dict) for entry in class_list.classes):
        problems.append('"classes": expected objects like {"name": "road"}')
    may_be = "numbers from 0 to 255"
    if class_list.masks == COLOURS:
        may_be += f', colours like [255, 0, 0], and "{CLEAR}"'
    allowed = isinstance(class_list.ignored, list) and all(
        _is_byte(item) or (class_list.masks == COLOURS and (_is_colour(item) or item == CLEAR))
        for item in class_list.ignored
    )
    if not allowed:
        problems.append(f'"ignore" is {brief(class_list.ignored)}; expected a list of {may_be}')
    if not problems:
        problems = _class_problems(class_list) + _number_problems(class_list)
    if not problems and class_list.masks == COLOURS:
        problems = _colour_problems(class_list)
    return class_list, problems


def text_of(class_list: ClassList) -> str:
    """What a `classes.json` says of a list of classes, a line each."""
    # Masks of ids go without saying, also in what earlier versions read.
    masks = "" if class_list.masks == IDS else f'"masks": {json.dumps(class_list.masks)},\n '
    lines = ",\n  ".join(map(json.dumps, class_list.classes))
    ignored = json.dumps(class_list.ignored)
    return f'{{{masks}"classes": [\n  {lines}],\n "ignore": {ignored}}}\n'


def _class_problems(class_list: ClassList) -> list[str]:
    problems, names = [], set()
    for position, entry in enumerate(class_list.classes):
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
        if not _is_colour(colour):
            problems.append(
                f'{where}: "color" is {brief(colour)}; expected [red, green, blue], 0..255'
            )
    return problems


def _number_problems(class_list: ClassList) -> list[str]:
    problems, taken = [], dict.fromkeys(class_list.ignored_numbers, '"ignore"')
    for position, number in enumerate(class_list.numbers):
        where = f'"classes"[{position}]'
        if not _is_byte(number):
            problems.append(f'{where}: "id" is {brief(number)}; expected a number from 0 to 255')
        elif number in taken:
            problems.append(f'{where}: "id" is {number}, as in {taken[number]}')
        else:
            taken[number] = where
    return problems


def _colour_problems(class_list: ClassList) -> list[str]:
    problems, taken = [], dict.fromkeys(class_list.ignored_colours, '"ignore"')
    for position, entry in enumerate(class_list.classes):
        where = f'"classes"[{position}]'
        if "color" not in entry:
            problems.append(f'{where}: "color" is missing; with "masks": "{COLOURS}" each has one')
            continue
        colour = _opaque(entry["color"])
        if colour in taken:
            problems.append(f'{where}: "color" is {entry["color"]}, as in {taken[colour]}')
        else:
            taken[colour] = where
    return problems


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _is_colour(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_byte, value))


def _opaque(colour: list[int]) -> Rgba:
    red, green, blue = colour
    return red, green, blue, 255
