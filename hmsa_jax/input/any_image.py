"""Images in any common format, as a viewer shows them: grey, palettes, CMYK, 16 bits, several ends.

JPEG and PNG files are read as training reads them. Transparency is left out: a pixel has the colour
that is stored under it.
"""

import dataclasses
import io
import struct
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from data import header, pixels
from data.header import Size
from hmsa_jax.input.decoding import Record

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp")
_FORMATS = ("TIFF", "WEBP", "BMP")
_EXPECTED = "expected a JPEG, PNG, TIFF, WebP or BMP file"
_ERRORS = (OSError, SyntaxError, struct.error, ValueError, KeyError, TypeError, EOFError)
_TURNED = range(5, 9)  # orientations in EXIF that make columns of rows
_UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclasses.dataclass(frozen=True)
class AnyImage:
    """How the images of records are read.

    Attributes:
      upright: whether an EXIF orientation turns them, as a viewer does.
    """

    upright: bool = True

    def size(self, record: Record) -> Size:
        """Rows and columns, from the header alone.

        Raises:
          ValueError: it is no such file, or claims more pixels than can be decoded.
        """
        data = record["image"]
        if _is_jpeg_or_png(data):
            found = header.read(data)
            return found.displayed if self.upright else found.stored
        with _opened(data) as image:
            rows, columns = image.height, image.width
            turned = _orientation(image) in _TURNED and self.upright != _is_upright(image)
        return (columns, rows) if turned else (rows, columns)

    def decode(self, record: Record) -> np.ndarray:
        """The image, uint8 `[H, W, 3]`, RGB.

        Raises:
          ValueError: as for `size`, or it is damaged.
        """
        data = record["image"]
        if _is_jpeg_or_png(data):
            return pixels.decode_image(data, upright=self.upright)
        with _opened(data) as image:
            undo = None if self.upright else _UNDO.get(_orientation(image))
            try:
                if undo is not None and _is_upright(image):
                    return _rgb(image.transpose(undo))
                return _rgb(ImageOps.exif_transpose(image) if self.upright else image)
            except _ERRORS as error:
                raise ValueError(f"it is damaged ({error})") from error


def _is_jpeg_or_png(data: bytes) -> bool:
    return data.startswith((header.PNG_SIGNATURE, header.JPEG_START))


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except _ERRORS as error:
        raise ValueError(f"{_EXPECTED}, got {len(data)} bytes starting {data[:8]!r}") from error
    header.check_size(image.height, image.width)
    return image


def _is_upright(image: Image.Image) -> bool:
    """Whether Pillow turns it itself, as it does a TIFF, whose size is then the displayed one."""
    return image.format == "TIFF"


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except _ERRORS:
        return None


def _rgb(image: Image.Image) -> np.ndarray:
    """8-bit RGB of an image of any mode."""
    if image.mode.startswith("I;16"):  # grey of 16 bits
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of mode {image.mode!r}, whose white nobody knows")
    if image.mode in ("RGBA", "RGBX", "RGBa"):
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    if image.mode in ("LA", "La"):
        return cv2.cvtColor(np.ascontiguousarray(np.asarray(image)[..., 0]), cv2.COLOR_GRAY2RGB)
    return np.asarray(image.convert("RGB"))
