"""How the labels of a data set are drawn: in numbers, or in colours of which each is a class."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data.pixels import decode_colours, decode_label, decode_unchanged, encode_label, grey_png

TRANSPARENT = (0, 0, 0, 0)
"""What all pixels of alpha 0 count as, whatever their red, green and blue."""

Rgba = tuple[int, int, int, int]

_KEPT = 32  # of the other colours of a label; one that was a JPEG once has thousands
_SHOWN = 10  # of those of all labels


@dataclasses.dataclass(frozen=True)
class OtherColours:
    """The colours of a label that no class has.

    Attributes:
      distinct: how many there are.
      most: the most frequent ones.
      pixels: int64, how often each of these occurs.
      places: row and column of the first pixel of each.
      file: the label's name.
    """

    distinct: int
    most: tuple[Rgba, ...]
    pixels: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    file: str = ""


@dataclasses.dataclass(frozen=True)
class NumberReader:
    """Reads labels of numbers: the values of grey PNGs, the indices of palette PNGs.

    Attributes:
      forms: which files it takes, in words.
    """

    forms: str = "8-bit grey or palette PNG labels"

    def read(self, data: bytes) -> tuple[np.ndarray, OtherColours | None]:
        """What will be stored of a label.

        Args:
          data: the file.

        Returns:
          Values `[H, W]` uint8, and no colour that is none of a class.

        Raises:
          ValueError: it is another picture, or is damaged.
        """
        label = decode_label(data)
        # Pillow fills in rows that are missing; OpenCV does not.
        decoded = decode_unchanged(data)
        if grey_png(data) is data and not np.array_equal(decoded, label):
            raise ValueError("OpenCV and Pillow decode it to different values, it is damaged")
        return label, None

    def stored(self, data: bytes) -> bytes:
        """An 8-bit grey PNG of the values."""
        return grey_png(data)


class ColourReader:
    """Reads labels of colours: the pixels of RGB and RGBA PNGs, the palette of palette PNGs.

    Args:
      values: what is stored of each colour.
      other: what is stored of a colour that is none of these.
    """

    forms = "8-bit RGB, RGBA or palette PNG labels (a grey one has no colours)"

    def __init__(self, values: Mapping[Rgba, int], other: int):
        keys = _keys(np.array(list(values), np.uint8))
        order = keys.argsort()
        self._keys = keys[order]
        self._values = np.array(list(values.values()), np.uint8)[order]
        self._other = other

    def read(self, data: bytes) -> tuple[np.ndarray, OtherColours | None]:
        """Like `NumberReader.read`, with the colours that are none of a class."""
        keys = _keys(decode_colours(data))
        at = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = self._keys[at] == keys
        label = np.where(known, self._values[at], np.uint8(self._other))
        return label, None if known.all() else _others(keys, ~known)

    def stored(self, data: bytes) -> bytes:
        """An 8-bit grey PNG of the values.

        Raises:
          ValueError: it holds other colours.
        """
        label, others = self.read(data)
        if others is not None:
            raise ValueError(f"a label has {others.distinct} colours that are no class")
        return encode_label(label)


def count(label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of a label, ascending.

    Args:
      label: unsigned integers, of any shape.

    Returns:
      The values `[n]`, their pixels int64 `[n]`, and the first pixel of each as a number into the
      flat label.
    """
    flat = label.ravel()
    # Regions make long runs, of which only the starts are sorted.
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = np.diff(starts, append=len(flat))
    values, first, which = np.unique(flat[starts], return_index=True, return_inverse=True)
    pixels = np.bincount(which, lengths, len(values)).astype(np.int64)
    return values, pixels, starts[first]


def count_colours(colours: np.ndarray) -> tuple[list[Rgba], np.ndarray, np.ndarray]:
    """The colours of a label, the most frequent ones first.

    Args:
      colours: RGBA, uint8 `[H, W, 4]`.

    Returns:
      The colours, their pixels int64 `[n]`, and the first pixel of each as a number into `[H * W]`.
    """
    keys, pixels, first = count(_keys(colours))
    order = np.argsort(-pixels, kind="stable")
    return _colours(keys[order]), pixels[order], first[order]


def describe_colour(colour: Sequence[int]) -> str:
    """RGBA in words, like '(255, 0, 0)'."""
    red, green, blue, alpha = map(int, colour)
    if alpha == 0:
        return "transparent"
    return f"({red}, {green}, {blue})" + (f" of alpha {alpha}" if alpha < 255 else "")


def list_others(found: list[OtherColours]) -> list[str]:
    """The most frequent other colours of all labels, a line each, and what else there is."""
    pixels: dict[Rgba, int] = {}
    labels: dict[Rgba, int] = {}
    example: dict[Rgba, str] = {}
    for others in found:
        for colour, count, (row, column) in zip(
            others.most, others.pixels, others.places, strict=True
        ):
            pixels[colour] = pixels.get(colour, 0) + count
            labels[colour] = labels.get(colour, 0) + 1
            example.setdefault(colour, f"{others.file} at row {row}, column {column}")
    ordered = sorted(pixels, key=lambda colour: (-pixels[colour], colour))
    lines = [
        f"{describe_colour(colour)}: pixels {pixels[colour]}, labels {labels[colour]}, first in"
        f" {example[colour]}"
        for colour in ordered[:_SHOWN]
    ]
    at_least = max(len(pixels), *(others.distinct for others in found))
    if at_least > len(lines):
        more = "at least " if any(others.distinct > _KEPT for others in found) else ""
        lines.append(f"and {more}{at_least - len(lines)} other colours")
    return lines


def _others(keys: np.ndarray, other: np.ndarray) -> OtherColours:
    """The colours of the pixels that `other` marks, of a label `[H, W]` of keys."""
    places = np.flatnonzero(other)
    colours, pixels, first = count(keys[other])
    order = np.argsort(-pixels, kind="stable")[:_KEPT]
    rows, columns = np.unravel_index(places[first[order]], keys.shape)
    return OtherColours(
        len(colours),
        tuple(_colours(colours[order])),
        tuple(pixels[order].tolist()),
        tuple(zip(rows.tolist(), columns.tolist(), strict=True)),
    )


def _keys(colours: np.ndarray) -> np.ndarray:
    """RGBA `[..., 4]` uint8 to a number for each colour, uint32 `[...]`; 0 if transparent."""
    keys = np.ascontiguousarray(colours).view(">u4")[..., 0].astype(np.uint32)
    return np.where(keys & 255 == 0, np.uint32(0), keys)


def _colours(keys: np.ndarray) -> list[Rgba]:
    return [(key >> 24, key >> 16 & 255, key >> 8 & 255, key & 255) for key in keys.tolist()]
