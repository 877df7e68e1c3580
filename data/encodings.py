"""How a built data set stores its pictures: as the files are, or so that they decode faster.

What is read of them is equal, pixel for pixel. docs/results/input_rate.md compares what there is.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np

from data import header, pixels

FILES = "files"
"""The encoding that changes nothing."""

_LARGEST = 2**30  # bytes of an image's pixels; a record holds twice as many
_LABEL_LEVEL = 6  # of Deflate: labels become 20 times smaller and take no longer to decode
_CHUNK = 2**20  # bytes; OpenCV reads no chunk beyond 8 MB


def _unchanged(image: bytes, label: bytes) -> tuple[bytes, bytes]:
    return image, label


def _stored(image: bytes, label: bytes) -> tuple[bytes, bytes]:
    """Undoing Deflate is most of what a PNG image costs, undoing filters most of what a label does.

    A JPEG image stays: its pixels would be ten times as large and decode no faster.
    """
    if image.startswith(header.PNG_SIGNATURE):
        decoded = pixels.decode_image(image, header.png_size(label))
        if decoded.nbytes <= _LARGEST:
            image = _unfiltered_png(decoded, 0)
    return image, _unfiltered_png(pixels.decode_unchanged(label), _LABEL_LEVEL)


ENCODINGS: dict[str, Callable[[bytes, bytes], tuple[bytes, bytes]]] = {
    FILES: _unchanged,
    "stored": _stored,
}
"""Functions from image and label, as a builder yields them, to what is stored; by name."""


def _unfiltered_png(array: np.ndarray, level: int) -> bytes:
    """A PNG file without filters, whose checksums are those of any PNG file.

    Neither Pillow nor OpenCV before 4.12 leaves filters out.

    Args:
      array: uint8, grey `[H, W]` or RGB `[H, W, 3]`.
      level: of Deflate; 0 stores the pixels as they are.
    """
    height, width = array.shape[:2]
    rows = np.zeros((height, 1 + array[0].size), np.uint8)  # the first of each says: no filter
    rows[:, 1:] = array.reshape(height, -1)
    data = zlib.compress(rows.data, level)
    colour = {2: 0, 3: 2}[array.ndim]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
        *((b"IDAT", data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)),
        (b"IEND", b""),
    ]
    return header.PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
        for kind, content in chunks
    )
