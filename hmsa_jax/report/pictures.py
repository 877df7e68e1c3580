"""Labels and predictions as pictures."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_PANEL = 640  # columns of a picture in a grid, at most
_GAP, _LINE, _TEXT = 8, 24, 16  # pixels
_INK, _PAPER = (20, 20, 20), 255

Palette = Sequence[tuple[int, int, int]]


def coloured(label: np.ndarray, palette: Palette) -> np.ndarray:
    """The colour of each pixel's class; black for a number that is no class.

    Args:
      label: class numbers, uint8 `[H, W]`.
      palette: RGB of each class.

    Returns:
      uint8 `[H, W, 3]`, RGB.
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[label]


def beside(image: np.ndarray, label: np.ndarray, palette: Palette) -> np.ndarray:
    """An image `[H, W, 3]` and on its right its coloured label, uint8 `[H, 2 W, 3]`."""
    return np.concatenate([image, coloured(label, palette)], axis=1)


def overlay(image: np.ndarray, label: np.ndarray, palette: Palette) -> np.ndarray:
    """The mean of an image `[H, W, 3]` and its coloured label, uint8 `[H, W, 3]`."""
    return cv2.addWeighted(image, 0.5, coloured(label, palette), 0.5, 0)


def errors(label: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Where a prediction is wrong: white where it is, grey where there is no label, else black.

    Args:
      label: uint8 `[H, W]`; what is not below `classes` is no label.
      prediction: uint8 `[H, W]`.
      classes: number of classes.

    Returns:
      uint8 `[H, W]`.
    """
    return np.where(label < classes, np.where(label == prediction, 0, 255), 128).astype(np.uint8)


def grid(
    rows: Sequence[Sequence[tuple[str, np.ndarray | None]]],
    key: Mapping[str, tuple[int, int, int]] | None = None,
    widest: int = _PANEL,
) -> np.ndarray:
    """Pictures of one size in rows, each below its title, uint8 `[H, W, 3]`.

    Args:
      rows: of titles and pictures, uint8 `[H, W, 3]` or grey `[H, W]`; None leaves a place empty.
        A row without titles has no room for them.
      key: names of colours that stand in a line below all.
      widest: columns that each may have; wider ones are reduced.
    """
    shape = next(p.shape for row in rows for _, p in row if p is not None)
    width = min(shape[1], widest)
    height = max(round(shape[0] * width / shape[1]), 1)
    lines = [_LINE if any(title for title, _ in row) else 0 for row in rows]
    bottom = _GAP + (height + _GAP) * len(rows) + sum(lines)
    size = (_GAP + (width + _GAP) * max(map(len, rows)), bottom + (_LINE + _GAP if key else 0))
    sheet = Image.new("RGB", size, (_PAPER,) * 3)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    for i, row in enumerate(rows):
        top = _GAP + (height + _GAP) * i + sum(lines[:i])
        for j, (title, picture) in enumerate(row):
            left = _GAP + (width + _GAP) * j
            draw.text((left, top + _LINE // 2), title, _INK, font, anchor="lm")
            if picture is not None:
                reduced = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
                sheet.paste(Image.fromarray(reduced), (left, top + lines[i]))
    left = _GAP
    for name, colour in (key or {}).items():
        _entry(draw, font, left, bottom, name, colour)
        left += 4 * _GAP + _LINE + int(font.getlength(name))
    return np.asarray(sheet)


def _entry(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    left: int,
    top: int,
    name: str,
    colour: tuple[int, int, int],
) -> None:
    """A square in a colour, and on its right what that means."""
    draw.rectangle((left, top, left + _LINE, top + _LINE), tuple(colour), _INK)
    draw.text((left + _LINE + _GAP, top + _LINE // 2), name, _INK, font, anchor="lm")
