"""Pictures small enough that a page holds them itself."""

import base64
import dataclasses
import io

import cv2
import numpy as np
from PIL import Image

from hmsa_jax.report import pictures
from hmsa_jax.report.pictures import Palette, coloured

SIDE, SHARE_SIDE = 512, 256  # pixels of the longer side, at most
_QUALITY, _SHARE_QUALITY = 75, 50  # of WebP
_RIGHT, _WRONG, _IGNORED = (205, 210, 218), (214, 64, 36), (60, 64, 72)


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A picture in a page.

    Attributes:
      source: a `data:` URI.
      width: columns, pixels.
      height: rows, pixels.
      is_drawn: whether its pixels have sharp edges, also when it is enlarged.
    """

    source: str
    width: int
    height: int
    is_drawn: bool = False


def photograph(image: np.ndarray, side: int = SIDE) -> Thumbnail:
    """An image, uint8 `[H, W, 3]`, reduced to a longer side of so many pixels."""
    return _encoded(_reduced(image, side, cv2.INTER_AREA), quality=_QUALITY)


def classes(label: np.ndarray, palette: Palette, side: int = SIDE) -> Thumbnail:
    """Class numbers, uint8 `[H, W]`, in the colours of the classes; no class is black."""
    return _drawn(coloured(_reduced(label, side, cv2.INTER_NEAREST), palette))


def overlay(image: np.ndarray, label: np.ndarray, palette: Palette, side: int = SIDE) -> Thumbnail:
    """The mean of an image, uint8 `[H, W, 3]`, and the colours of its classes, uint8 `[H, W]`."""
    image = _reduced(image, side, cv2.INTER_AREA)
    label = _reduced(label, side, cv2.INTER_NEAREST)
    return _encoded(pictures.overlay(image, label, palette), quality=_QUALITY)


def errors(label: np.ndarray, predicted: np.ndarray, classes: int, side: int = SIDE) -> Thumbnail:
    """Where a prediction is wrong: red; right: light; without label: dark.

    Args:
      label: class numbers, uint8 `[H, W]`.
      predicted: class numbers, uint8 `[H, W]`.
      classes: number of classes; a label that is not below it counts nowhere.
      side: of the picture, at most.
    """
    kinds = np.where(label >= classes, 2, label != predicted).astype(np.uint8)
    kinds = _reduced(kinds, side, cv2.INTER_NEAREST)
    return _drawn(coloured(kinds, (_RIGHT, _WRONG, _IGNORED)))


def share(values: np.ndarray, side: int = SHARE_SIDE) -> Thumbnail:
    """255 times the share of a scale, uint8 `[H, W]`: white is 1. It is smooth, and so small."""
    return _encoded(_reduced(values, side, cv2.INTER_AREA), quality=_SHARE_QUALITY)


def _reduced(array: np.ndarray, side: int, interpolation: int) -> np.ndarray:
    rows, columns = array.shape[:2]
    part = side / max(rows, columns)
    if part >= 1:
        return array
    size = max(round(columns * part), 1), max(round(rows * part), 1)
    return cv2.resize(array, size, interpolation=interpolation)


def _drawn(pixels: np.ndarray) -> Thumbnail:
    return dataclasses.replace(_encoded(pixels, lossless=True), is_drawn=True)


def _encoded(pixels: np.ndarray, **options: int | bool) -> Thumbnail:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", method=4, **options)
    data = base64.b64encode(file.getvalue()).decode()
    return Thumbnail(f"data:image/webp;base64,{data}", pixels.shape[1], pixels.shape[0])
