"""A `classes.json` to edit, from what the masks of a directory hold."""

import dataclasses
from collections.abc import Iterable

from data import exports
from data.class_list import CLEAR, COLOURS, IDS, ClassList
from data.exports import Named
from data.label_reader import TRANSPARENT, describe_colour
from data.label_spec import IGNORE
from data.mask_survey import COLOUR, GREY, Survey, Tally

IGNORED = "ignored"
_BINARY = ("background", "foreground")
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_FEW = 0.1  # of the pixels: no more are left without a class
_RARE, _MANY_RARE = 0.001, 8  # share of a colour, and number of such that smooth edges make
_SHOWN = 5
_VOC_HINT = " Other tools use its colours, too: change the names if the classes are others."


@dataclasses.dataclass(frozen=True)
class Row:
    """Something that masks hold.

    Attributes:
      what: a number or a colour, in words.
      tally: how often it occurs.
      meaning: the name of the class that is proposed, or `IGNORED`.
    """

    what: str
    tally: Tally
    meaning: str


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A list of classes, and why it is proposed.

    Attributes:
      class_list: to be written.
      rows: what the masks hold.
      reasons: a line each.
      made_up: the names that say nothing yet.
    """

    class_list: ClassList
    rows: list[Row]
    reasons: list[str]
    made_up: list[str]


def propose(survey: Survey, label_map: list[Named] | None) -> Proposal:
    """Finds out how masks are drawn.

    Args:
      survey: of the masks, of which there are some.
      label_map: the classes that a labelling tool names, if it does.

    Returns:
      A list of classes by which all of the masks can be read.

    Raises:
      ValueError: there is none.
    """
    if GREY in survey.examples and COLOUR in survey.examples:
        raise ValueError(
            f"{survey.masks[COLOUR]} masks are of colours, like {survey.examples[COLOUR]}, and"
            f" {survey.masks[GREY]} are grey, like {survey.examples[GREY]}: expected masks of one"
            " form; convert these or those."
        )
    by_colour = survey.disagreement and GREY not in survey.examples
    if COLOUR in survey.examples or by_colour:
        reason = "Masks are read by their colours"
        if by_colour:
            reason += f": their palettes disagree, {survey.disagreement}"
        return _of_colours(survey, label_map, [f"{reason}."])
    return _of_ids(survey, label_map)


def _of_ids(survey: Survey, label_map: list[Named] | None) -> Proposal:
    """For grey masks, and palette masks whose numbers mean the same in all."""
    numbers = sorted(survey.numbers)
    reasons = ["Masks are read by their numbers" + ", not by palettes" * bool(survey.palette) + "."]
    shown = {number: colour[:3] for number, colour in survey.palette.items()}
    if survey.disagreement or all(colour == (n, n, n) for n, colour in shown.items()):
        shown = {}  # a ramp of grey says nothing of colours
    if survey.disagreement:
        reasons.append(
            f"Palettes disagree, {survey.disagreement}, and grey masks have none: make sure that"
            " the numbers mean the same in all."
        )
    is_binary = set(numbers) == {0, IGNORE} and not shown
    ignored = []
    if IGNORE in numbers and not is_binary and len(numbers) > 1:
        is_ignored, reason = _void(survey)
        ignored = [IGNORE] * is_ignored
        reasons.append(reason)
    used = [number for number in numbers if number not in ignored]
    if is_binary:
        reasons.append(f"They hold nothing but 0 and {IGNORE}: two classes, and nothing ignored.")
        named = dict(zip(used, (Named(name, None) for name in _BINARY), strict=True))
    else:
        named, reason = _named_ids(used, shown, label_map)
        reasons += [reason] * bool(reason)
    entries: list[dict] = []
    for number in sorted({*used, *named}):
        known = named.get(number, Named(_free(f"class {number}", named.values()), None))
        colour = shown.get(number, known.colour)
        painted = {"color": list(colour)} if colour else {}
        entries.append({"name": known.name, **painted, "id": number})
    names = {entry["id"]: entry["name"] for entry in entries}
    rows = [
        Row(
            f"{number} {shown[number]}" if number in shown else str(number),
            survey.numbers[number],
            names.get(number, IGNORED),
        )
        for number in numbers
    ]
    made_up = [names[number] for number in used if number not in named]
    return Proposal(ClassList(IDS, entries, ignored), rows, reasons, made_up)


def _void(survey: Survey) -> tuple[bool, str]:
    """Whether number 255 is to be ignored, and why."""
    pixels = survey.numbers[IGNORE].pixels
    share = pixels / sum(tally.pixels for tally in survey.numbers.values())
    is_thin = survey.thick < _FEW * pixels
    if is_thin or share < _FEW:
        how = "is thin everywhere, like outlines" if is_thin else "has few pixels"
        return True, f"{IGNORE} {how} ({share:.1%} of the pixels): it is ignored."
    return False, (
        f"{IGNORE} has {share:.1%} of the pixels, in areas: it is a class. If it means that there"
        ' is no label, move it to "ignore".'
    )


def _named_ids(
    used: list[int], shown: dict[int, exports.Rgb], label_map: list[Named] | None
) -> tuple[dict[int, Named], str]:
    """The numbers whose names are known, and where from; with those of classes without pixels."""
    for listed, source in ((label_map, exports.LABEL_MAP), (_voc(), "Pascal VOC")):
        if listed is None:
            continue
        in_order = bool(shown) and all(
            number < len(listed) and listed[number].colour == shown.get(number) for number in used
        )
        if in_order and any(used):
            how = f"Names are those of {source}, by colour and number."
            return dict(enumerate(listed)), how + _VOC_HINT * (listed is not label_map)
        if listed is not label_map:
            continue
        by_colour = {each.colour: each for each in listed if each.colour}
        found = {n: by_colour[shown[n]] for n in used if shown.get(n) in by_colour}
        if found:
            return found, f"Names are those of {source}, by colour."
        if not shown and max(used) < len(listed):
            return dict(enumerate(listed)), (
                f"Names are those of {source}, in its order: make sure that it is that of the"
                " numbers."
            )
        return {}, f"{source} names none of these numbers."
    return {}, ""


def _of_colours(survey: Survey, label_map: list[Named] | None, reasons: list[str]) -> Proposal:
    """For masks of colours."""
    _check_colours(survey)
    ordered = sorted(survey.colours, key=lambda colour: (-survey.colours[colour].pixels, colour))
    found = [colour[:3] for colour in ordered if colour != TRANSPARENT]
    ignored: list = [CLEAR] * (TRANSPARENT in ordered)
    listed, source = _named_colours(found, label_map)
    reasons += [source] * bool(source)
    void = exports.voc_colour(exports.VOC_VOID)
    if not label_map and len(listed) == len(exports.VOC_NAMES) and void in found:
        ignored.append(list(void))
        reasons.append(f"{void} is the colour of its outlines, which are ignored.")
    known = {each.colour: each for each in listed if each.colour}
    unknown = [colour for colour in found if colour not in known and list(colour) not in ignored]
    made_up = [
        Named(_free(f"class {number}", listed), colour)
        for number, colour in enumerate(unknown, len(known))
    ]
    if label_map and unknown:
        reasons.append(f"{exports.LABEL_MAP} does not list {len(unknown)} of the colours.")
    entries = [*known.values(), *made_up]
    if len(entries) > IGNORE:
        raise ValueError(_too_many(survey))
    names = {each.colour: each.name for each in entries}
    rows = [
        Row(describe_colour(colour), survey.colours[colour], IGNORED)
        if colour == TRANSPARENT or list(colour[:3]) in ignored
        else Row(describe_colour(colour), survey.colours[colour], names[colour[:3]])
        for colour in ordered
    ]
    classes = [{"name": each.name, "color": list(each.colour or ())} for each in entries]
    reasons += _smooth(survey)
    return Proposal(
        ClassList(COLOURS, classes, ignored), rows, reasons, [each.name for each in made_up]
    )


def _named_colours(
    found: list[exports.Rgb], label_map: list[Named] | None
) -> tuple[list[Named], str]:
    """The classes that are known by their colours, and where from; also those without pixels."""
    if label_map:
        return label_map, f"Names are those of {exports.LABEL_MAP}, by colour."
    if set(found) == {_BLACK, _WHITE}:
        named = list(map(Named, _BINARY, (_BLACK, _WHITE)))
        return named, "They hold nothing but black and white: two classes."
    voc = _voc()
    colours = {each.colour for each in voc}
    void = exports.voc_colour(exports.VOC_VOID)
    if {*found} <= {*colours, void} and {*found} & colours - {_BLACK}:
        return voc, "Names are those of Pascal VOC, by colour." + _VOC_HINT
    return [], ""


def _voc() -> list[Named]:
    return [Named(name, exports.voc_colour(n)) for n, name in enumerate(exports.VOC_NAMES)]


def _check_colours(survey: Survey) -> None:
    """Raises ValueError for what no class can be: half transparent, or too many colours."""
    half = [colour for colour in survey.colours if 0 < colour[3] < 255]
    if half:
        tally = survey.colours[half[0]]
        raise ValueError(
            f"{len(half)} colours are half transparent, like {describe_colour(half[0])} in"
            f" {tally.first} at row {tally.row}, column {tally.column}: expected opaque pixels, or"
            " such of alpha 0; paint the masks anew without smooth edges."
        )
    if survey.is_cut:
        raise ValueError(_too_many(survey))


def _too_many(survey: Survey) -> str:
    most = sorted(survey.colours.items(), key=lambda item: -item[1].pixels)[:_SHOWN]
    total = sum(tally.pixels for tally in survey.colours.values())
    listed = ", ".join(f"{describe_colour(c)} {tally.pixels / total:.1%}" for c, tally in most)
    more = "more than " * survey.is_cut
    return (
        f"the masks have {more}{len(survey.colours)} colours ({listed}, ...), expected one a class"
        f" and at most {IGNORE}: smooth edges, resizing or JPEG make others; paint the masks anew"
        " without."
    )


def _smooth(survey: Survey) -> list[str]:
    """The line that says that most colours are hardly there; none if they are not."""
    total = sum(tally.pixels for tally in survey.colours.values())
    rare = [tally.pixels for tally in survey.colours.values() if tally.pixels < _RARE * total]
    if len(rare) < _MANY_RARE:
        return []
    return [
        f"{len(rare)} of the {len(survey.colours)} colours have {sum(rare) / total:.2%} of the"
        " pixels together: if they are smooth edges, they are no classes; paint the masks anew"
        " without."
    ]


def _free(name: str, taken: Iterable[Named]) -> str:
    """The name, or if a class has it, another one."""
    names = {each.name for each in taken}
    while name in names:
        name += "'"
    return name
