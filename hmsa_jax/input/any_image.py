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
_SIGNATURES = (b"II*\0", b"MM\0*", b"RIFF", b"BM")
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
            if image.mode in ("I", "F"):
                raise ValueError(
                    f"its pixels are of mode {image.mode!r}, whose white nobody knows; expected 8"
                    " or 16 bits"
                )
            undo = None if self.upright else _UNDO.get(_orientation(image))
            try:
                grey = _wide_grey(image)
                if undo is not None and _is_upright(image):
                    return _rgb(image.transpose(undo), grey)
                return _rgb(ImageOps.exif_transpose(image) if self.upright else image, grey)
            except _ERRORS as error:
                raise ValueError(f"it is damaged ({error})") from error


def _is_jpeg_or_png(data: bytes) -> bool:
    return data.startswith((header.PNG_SIGNATURE, header.JPEG_START))


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except _ERRORS as error:
        what = f"{len(data)} bytes starting {data[:8]!r}"
        if data.startswith(_SIGNATURES):
            raise ValueError(f"it is cut off, damaged or of an unknown kind ({what})") from error
        raise ValueError(f"{_EXPECTED}, got {what}") from error
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


@dataclasses.dataclass(frozen=True)
class _WideGrey:
    """How the pixels of a grey image of more than 8 bits, of which Pillow gives 16, are stored.

    Attributes:
      bits: that are used.
      white_is_zero: rather than the highest number.
    """

    bits: int = 16
    white_is_zero: bool = False


def _wide_grey(image: Image.Image) -> _WideGrey:
    if image.format != "TIFF" or not image.mode.startswith("I;16"):
        return _WideGrey()
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = np.ravel(tags.get(ExifTags.Base.BitsPerSample, 16))[0]
    return _WideGrey(int(bits), tags.get(ExifTags.Base.PhotometricInterpretation) == 0)


def _rgb(image: Image.Image, wide_grey: _WideGrey) -> np.ndarray:
    """8-bit RGB of an image of any mode."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> (wide_grey.bits - 8)).astype(np.uint8)
        grey = 255 - grey if wide_grey.white_is_zero else grey
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if image.mode in ("RGBA", "RGBX", "RGBa"):
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    if image.mode in ("LA", "La"):
        return cv2.cvtColor(np.ascontiguousarray(np.asarray(image)[..., 0]), cv2.COLOR_GRAY2RGB)
    return np.asarray(image.convert("RGB"))
