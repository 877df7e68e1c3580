"""What the bytes of a JPEG or PNG file say before they are decoded.

A picture is what a viewer displays: turned as its EXIF orientation says. Its label may have been
drawn over the pixels as they are stored, though; where sizes show that, they decide.

Pillow reads headers, too, but decodes a whole PNG to find an orientation behind its pixels: here
the sizes of a data set are read without decoding anything.
"""

import contextlib
import dataclasses
import re
import struct
import warnings
from collections.abc import Iterator

from PIL import ExifTags, Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
JPEG_START = b"\xff\xd8"
# The start-of-frame markers are C0..CF, except for DHT, JPG and DAC, which share the range.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
_JPEG_APP1, _JPEG_SCAN, _JPEG_END = 0xE1, 0xDA, 0xD9
# What ends the pixels of a scan: a marker that is no stuffed byte, restart or fill byte.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXIF = b"Exif\0\0"

# Damaged EXIF turns nothing: no word of it.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")

# OpenCV decodes no more.
MAX_PIXELS = 2**30
MAX_SIDE = 2**20
# What a byte of a file holds at most: Deflate makes 1032 bytes of one, and each of a JPEG's blocks
# of 8 x 8 pixels takes a bit.
_PNG_BYTES_PER_BYTE = 1032
_JPEG_PIXELS_PER_BYTE = 8 * 64

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of its picture.

    Attributes:
      form: 'JPEG' or 'PNG'.
      stored: rows and columns of the pixels as they are stored.
      orientation: how to turn them, as EXIF numbers it: 1 not at all, 2 to 4 mirrored or by 180
        degrees, 5 to 8 so that rows become columns.
    """

    form: str
    stored: Size
    orientation: int

    @property
    def displayed(self) -> Size:
        """Rows and columns of what a viewer displays."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored

    def turn(self, label_size: Size | None = None) -> int:
        """The orientation to apply: 1 if only the stored pixels are as large as the label.

        Args:
          label_size: rows and columns of the label; None if there is none.
        """
        as_stored = label_size == self.stored and label_size != self.displayed
        return 1 if as_stored else self.orientation

    def size(self, label_size: Size | None = None) -> Size:
        """Rows and columns of the picture after that turn."""
        return self.stored if self.turn(label_size) < 5 else self.displayed


def read(data: bytes) -> Header:
    """Reads the header of a JPEG or PNG file.

    Raises:
      ValueError: the bytes are neither, or cut short in the header, or claim more pixels than they
        can hold or OpenCV decodes.
    """
    read_form = _read_png if data.startswith(PNG_SIGNATURE) else _read_jpeg
    header = read_form(data) if data.startswith((PNG_SIGNATURE, JPEG_START)) else None
    if header is None:
        raise ValueError(
            f"expected a whole PNG or JPEG file, got {len(data)} bytes starting {data[:8]!r}"
        )
    rows, columns = header.stored
    check_size(rows, columns)
    if rows * columns > _most_pixels(data, header):
        raise ValueError(f"it claims {columns}x{rows} pixels, which {len(data)} bytes cannot hold")
    return header


def check_size(rows: int, columns: int) -> None:
    """Raises ValueError if a picture has no pixel, or more than OpenCV decodes."""
    if not 0 < rows * columns <= MAX_PIXELS or max(rows, columns) > MAX_SIDE:
        raise ValueError(
            f"it claims {columns}x{rows} pixels; expected 1 to {MAX_PIXELS}, and at most {MAX_SIDE}"
            " a side"
        )


def png_size(data: bytes | None) -> Size | None:
    """Rows and columns that a PNG file claims; None without a file, or if it is none."""
    if data is None or not data.startswith(PNG_SIGNATURE) or len(data) < 24:
        return None
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def check_end(data: bytes) -> None:
    """Raises ValueError if a JPEG or PNG file ends before its picture does."""
    if data.startswith(PNG_SIGNATURE):
        ended = any(kind == b"IEND" for kind, _, _ in png_chunks(data))
    else:
        ended = any(marker == _JPEG_END for marker, _, _ in _jpeg_segments(data))
    if not ended:
        raise ValueError(f"it is cut short after {len(data)} bytes")


def _most_pixels(data: bytes, header: Header) -> int:
    """How many pixels these bytes can hold."""
    if header.form == "JPEG":
        return _JPEG_PIXELS_PER_BYTE * len(data)
    bits = data[24] * _PNG_CHANNELS.get(data[25], 1)
    return 8 * _PNG_BYTES_PER_BYTE * len(data) // max(bits, 1)


def _read_png(data: bytes) -> Header | None:
    """None if the first chunk, IHDR, is cut short."""
    size = png_size(data)
    if len(data) < 33 or size is None:
        return None
    exif = next((data[a:b] for kind, a, b in png_chunks(data) if kind == b"eXIf"), b"")
    return Header("PNG", size, _orientation(exif))


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields type, start and end of the content of each whole chunk."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 <= len(data):
            yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _read_jpeg(data: bytes) -> Header | None:
    """None if there is no start of a frame."""
    orientation = 1
    for marker, start, end in _jpeg_segments(data):
        if marker == _JPEG_APP1 and data[start : start + len(_EXIF)] == _EXIF:
            orientation = _orientation(data[start + len(_EXIF) : end])
        elif marker in _JPEG_FRAMES and start + 5 <= len(data):
            rows, columns = data[start + 1 : start + 3], data[start + 3 : start + 5]
            size = int.from_bytes(rows, "big"), int.from_bytes(columns, "big")
            return Header("JPEG", size, orientation)
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of the content of each segment, to the end of the picture."""
    at = len(JPEG_START)
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte before the marker
            at += 1
            continue
        length = 0
        if marker not in _JPEG_WITHOUT_LENGTH and marker != _JPEG_END:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, at + 2 + length
        at += 2 + length
        if marker == _JPEG_END:
            return
        if marker == _JPEG_SCAN:
            found = _AFTER_SCAN.search(data, at)
            at = found.start() if found else len(data)


def _orientation(exif: bytes) -> int:
    """The orientation in EXIF, which is a TIFF file; 1 where it says nothing that can be read."""
    tags = Image.Exif()
    with contextlib.suppress(SyntaxError, struct.error, OSError, KeyError, ValueError):
        tags.load(_EXIF + exif)
        value = tags.get(ExifTags.Base.Orientation)
        if isinstance(value, int) and 1 <= value <= 8:
            return value
    return 1
