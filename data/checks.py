"""What can be wrong with a data set's files, found before anything is built from them."""

import dataclasses
import functools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from data import decoder_messages, header, problems
from data.files import READ_ERRORS, File, is_utf8
from data.label_reader import ColourReader, NumberReader
from data.label_spec import LabelSpec
from data.pixels import decode_image, palette_of
from data.problems import Kind, Problems
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import track

Colours = Mapping[int, tuple[int, int, int]]

_NUMBERS = NumberReader()
_APART = 8  # of the rows and columns that the light of an image is taken from


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


def match(listing: Listing, found: Problems) -> list[Pair]:
    """Brings images and labels together, in the order of their names."""
    images = _by_name(listing.images, found)
    if listing.labels is None:
        return [Pair(name, images[name], None) for name in sorted(images)]
    labels = _by_name(listing.labels, found)
    without_label, without_image = images.keys() - labels.keys(), labels.keys() - images.keys()
    for name in sorted(without_label):
        found.add(problems.NO_LABEL, f"{images[name]}{_in_other_form(name, without_image)}")
    for name in sorted(without_image):
        found.add(problems.NO_IMAGE, f"{labels[name]}{_in_other_form(name, without_label)}")
    return [Pair(name, images[name], labels[name]) for name in sorted(images.keys() & labels)]


def _in_other_form(name: str, others: Iterable[str]) -> str:
    """A hint where another name looks the same: as composed and decomposed accents do."""
    if name.isascii():
        return ""
    form = unicodedata.normalize("NFC", name)
    if form not in (unicodedata.normalize("NFC", other) for other in others):
        return ""
    return " (the other one's name looks the same, in another Unicode form: rename one)"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a pair's files hold.

    Attributes:
      number: of the pair among all, from 0.
      name: of the pair.
      size: width and height of the image; None if it is unreadable.
      light: mean and largest standard deviation of its colours, of 255; None with `size`.
      counts: int64 `[256]`, pixels of the label by value; None without a readable label.
      problems: the kind of each, and what `Problems.add` takes of it.
    """

    number: int
    name: str
    size: tuple[int, int] | None
    light: tuple[float, float] | None
    counts: np.ndarray | None
    problems: tuple[tuple[Kind, Any], ...]


def inspect(
    pairs: Iterable[Pair],
    total: int,
    label_spec: LabelSpec,
    colours: Colours,
    *,
    description: str,
    reader: NumberReader | ColourReader = _NUMBERS,
) -> Iterator[Finding]:
    """Decodes pairs in threads, as training does, under a progress bar.

    Args:
      pairs: the pairs.
      total: how many.
      label_spec: says which values labels may hold.
      colours: that values have by what the data set says, for those of which it says any.
      description: stands before the bar.
      reader: of the labels.

    Yields:
      What was found in each pair; last of all in those of which a decoder complained, which are
      decoded once more, alone, to tell whose complaint it was.
    """
    loud = []
    look = functools.partial(_inspect, label_spec=label_spec, colours=colours, reader=reader)
    with decoder_messages.heard() as messages:

        def look_and_hear(numbered: tuple[int, Pair]) -> tuple[tuple[int, Pair], Finding, bool]:
            before = messages.size()
            return numbered, look(*numbered), bool(messages.damage_since(before))

        looked = parallel.in_order(look_and_hear, enumerate(pairs))
        for numbered, finding, is_loud in track(looked, total, description):
            if is_loud:  # or another one that was decoded at the same time
                loud.append(numbered)
            else:
                yield finding
        for number, pair in loud:
            before = messages.size()
            yield _with_complaint(pair, look(number, pair), messages.damage_since(before))


def _inspect(
    number: int,
    pair: Pair,
    *,
    label_spec: LabelSpec,
    colours: Colours,
    reader: NumberReader | ColourReader,
) -> Finding:
    found: list[tuple[Kind, Any]] = []
    label, counts = _label_of(pair, label_spec, colours, reader, found)
    size, light = _image_of(pair, None if label is None else label.shape, found)
    if size is not None and label is not None and size != label.shape:
        (rows, columns), (label_rows, label_columns) = size, label.shape
        turned = any(kind == problems.TURNED for kind, _ in found)
        as_displayed = " as displayed" if turned else ""
        text = f"{pair.image} {columns}x{rows}{as_displayed}"
        found.append((problems.UNEQUAL, f"{text}, {pair.label} {label_columns}x{label_rows}"))
    return Finding(number, pair.name, size and size[::-1], light, counts, tuple(found))


def _with_complaint(pair: Pair, finding: Finding, said: str) -> Finding:
    """A finding, with what a decoder said of a picture that it decoded."""
    unreadable = any(kind == problems.UNREADABLE for kind, _ in finding.problems)
    if unreadable or not said:
        return finding
    complaint = problems.DAMAGED, f"{pair.image} ({said})"
    return dataclasses.replace(finding, problems=(*finding.problems, complaint))


def _label_of(
    pair: Pair,
    label_spec: LabelSpec,
    colours: Colours,
    reader: NumberReader | ColourReader,
    found: list,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Values `[H, W]` of a pair's label, and pixels by value; None twice if there is none."""
    if pair.label is None:
        return None, None
    try:
        data = read(pair.label)
        label, others = reader.read(data)
    except ValueError as error:
        found.append((problems.UNREADABLE, f"{pair.label} ({error})"))
        return None, None
    counts = np.bincount(label.ravel(), minlength=256)
    if others is not None:
        found.append((problems.FOREIGN_COLOURS, dataclasses.replace(others, file=str(pair.label))))
    foreign = [str(value) for value in np.flatnonzero(counts) if value not in label_spec.values]
    if foreign:
        found.append((problems.FOREIGN, f"{pair.label} holds {', '.join(foreign)}"))
    other = _other_colour(palette_of(data), counts, colours)
    if other:
        found.append((problems.OTHER_COLOURS, f"{pair.label} ({other})"))
    return label, counts


def _image_of(
    pair: Pair, label_size: header.Size | None, found: list
) -> tuple[header.Size | None, tuple[float, float] | None]:
    """Rows, columns and light of a pair's image as training reads it; None twice if it cannot."""
    try:
        data = read(pair.image)
        claimed = header.read(data)
        header.check_end(data)
        image = decode_image(data, label_size)
    except ValueError as error:
        found.append((problems.UNREADABLE, f"{pair.image} ({error})"))
        return None, None
    if claimed.orientation > 1 and (pair.label is None or label_size is not None):
        turned = claimed.turn(label_size) > 1
        kind = problems.TURNED if turned else problems.AS_STORED
        found.append((kind, f"{pair.image} (orientation {claimed.orientation})"))
    mean, deviation = cv2.meanStdDev(np.ascontiguousarray(image[::_APART, ::_APART]))
    return image.shape[:2], (float(mean.mean()), float(deviation.max()))


def _other_colour(palette: np.ndarray | None, counts: np.ndarray, colours: Colours) -> str:
    """The first value of a label that has another colour than the data set says, in words."""
    if palette is None or (palette == np.arange(len(palette))[:, None]).all():
        return ""  # none, or a ramp of grey, which says nothing of colours
    for value in np.flatnonzero(counts[: len(palette)]):
        here, said = tuple(map(int, palette[value])), colours.get(int(value))
        if said is not None and here != tuple(said):
            owners = [other for other, colour in colours.items() if tuple(colour) == here]
            whose = f", which is the colour of value {owners[0]}" if owners else ""
            return f"value {value} is {here}{whose}; expected {tuple(said)}"
    return ""


def read(file: File) -> bytes:
    """All bytes of a file.

    Raises:
      ValueError: it cannot be read; the message does not name it.
    """
    try:
        with file.open() as stream:
            return stream.read()
    except READ_ERRORS as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error


def _by_name(files: list[tuple[str, File]], found: Problems) -> dict[str, File]:
    named: dict[str, File] = {}
    for name, file in files:
        if not is_utf8(name):
            found.add(problems.BAD_NAME, str(file))
        elif name in named:
            found.add(problems.SAME_NAME, f"{file}, {named[name]}")
        named.setdefault(name, file)
    return named
