"""What masks hold of which nobody has said what they mean."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable

import cv2
import numpy as np

from data import checks, decoder_messages
from data.files import File
from data.label_reader import Rgba, count, count_colours
from data.label_spec import IGNORE
from data.pixels import decode_colours, decode_label, holds_colours, palette_of
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import track

GREY, PALETTE, COLOUR = "grey", "palette", "colour"

_MOST_COLOURS = 4096  # that are counted; masks of classes have less than 256
_LINE = 15  # pixels; what is thinner everywhere is an outline


@dataclasses.dataclass
class Tally:
    """How often a number or a colour occurs.

    Attributes:
      first: the first mask with it.
      row: of its first pixel there.
      column: likewise.
      pixels: in all masks.
      masks: how many have it.
    """

    first: File
    row: int
    column: int
    pixels: int = 0
    masks: int = 0


@dataclasses.dataclass
class Survey:
    """Adds up what masks hold.

    Attributes:
      examples: of each form of mask that there is, the first one.
      masks: how many there are of each form.
      numbers: of grey and palette masks.
      colours: of masks of colours and of palette masks.
      palette: the colour of each number that palette masks show.
      disagreement: two palette masks that show a number in two colours, in words; or empty.
      thick: pixels of number 255 that lie in no outline.
      is_cut: whether there are more colours than are counted.
    """

    examples: dict[str, File] = dataclasses.field(default_factory=dict)
    masks: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    numbers: dict[int, Tally] = dataclasses.field(default_factory=dict)
    colours: dict[Rgba, Tally] = dataclasses.field(default_factory=dict)
    palette: dict[int, Rgba] = dataclasses.field(default_factory=dict)
    disagreement: str = ""
    thick: int = 0
    is_cut: bool = False

    def add(self, file: File, seen: "Seen") -> None:
        """Takes a mask."""
        self.examples.setdefault(seen.form, file)
        self.masks[seen.form] += 1
        self.thick += seen.thick
        for number, pixels, place in seen.numbers:
            _count(self.numbers, number, file, pixels, divmod(place, seen.columns))
        for colour, pixels, place in seen.colours:
            if colour in self.colours or len(self.colours) < _MOST_COLOURS:
                _count(self.colours, colour, file, pixels, divmod(place, seen.columns))
            else:
                self.is_cut = True
        for number, colour in seen.palette.items():
            known = self.palette.setdefault(number, colour)
            if known != colour and not self.disagreement:
                self.disagreement = (
                    f"{number} is {known[:3]} in {self.numbers[number].first} and {colour[:3]} in"
                    f" {file}"
                )


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one mask holds.

    Attributes:
      form: `GREY`, `PALETTE` or `COLOUR`.
      columns: how wide it is.
      numbers: (number, pixels, place of the first), unless it has only colours.
      colours: (colour, pixels, place of the first), unless it is grey.
      palette: the colour of each number that occurs in a palette mask.
      thick: pixels of number 255 that lie in no outline.
    """

    form: str
    columns: int
    numbers: list[tuple[int, int, int]]
    colours: list[tuple[Rgba, int, int]]
    palette: dict[int, Rgba]
    thick: int


def look(files: Iterable[File], total: int) -> tuple[Survey, list[str]]:
    """Decodes masks in threads, under a progress bar.

    Args:
      files: the masks.
      total: how many.

    Returns:
      What they hold; and those that cannot be read, each with what is wrong.
    """
    survey, unreadable = Survey(), []
    with decoder_messages.heard():
        looked = parallel.in_order(_look, files)
        for file, seen in track(looked, total, "Looking at masks"):
            if isinstance(seen, Seen):
                survey.add(file, seen)
            else:
                unreadable.append(f"{file} ({seen})")
    return survey, unreadable


def _look(file: File) -> tuple[File, Seen | str]:
    """A mask, and what it holds, or why it cannot be read."""
    try:
        return file, _seen(checks.read(file))
    except ValueError as error:
        return file, str(error)


def _seen(data: bytes) -> Seen:
    if holds_colours(data):
        colours = decode_colours(data)
        return Seen(COLOUR, colours.shape[1], [], _rows(*count_colours(colours)), {}, 0)
    label = decode_label(data)
    numbers, pixels, first = count(label)
    rows = _rows(numbers.tolist(), pixels, first)
    thick = _thick(label == IGNORE)
    if palette_of(data) is None:
        return Seen(GREY, label.shape[1], rows, [], {}, thick)
    colours = decode_colours(data)
    shown = [tuple(colour) for colour in colours.reshape(-1, 4)[first].tolist()]
    palette = dict(zip(numbers.tolist(), shown, strict=True))
    return Seen(PALETTE, label.shape[1], rows, _rows(*count_colours(colours)), palette, thick)


def _rows(keys: list, pixels: np.ndarray, first: np.ndarray) -> list:
    rows = zip(keys, pixels.tolist(), first.tolist(), strict=True)
    return list(itertools.islice(rows, _MOST_COLOURS + 1))  # one too many tells of more


def _thick(mask: np.ndarray) -> int:
    """How many pixels of a mask `[H, W]` bool are the centre of a square that lies within."""
    if not mask.any():
        return 0
    kernel = np.ones((_LINE, _LINE), np.uint8)
    return int(cv2.erode(mask.astype(np.uint8), kernel).sum())


def _count(tallies: dict, key: int | Rgba, file: File, pixels: int, place: tuple[int, int]) -> None:
    tally = tallies.setdefault(key, Tally(file, *place))
    tally.pixels += pixels
    tally.masks += 1
