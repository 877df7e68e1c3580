"""Encoded records to arrays: what the bytes of a source mean."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

Record = Mapping[str, Any]
"""One example as a source stores it: 'image' and 'label' are encoded bytes, 'id' is a string.

'train_ids', if there, is 256 bytes: the class number for which each label value stands.
"""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
# The start-of-frame markers are C0..CF, except for DHT, JPG and DAC, which share the range.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}

# A camera's EXIF orientation turns only the photograph: the label, a PNG, was drawn over the pixels
# as they are stored.
_IMAGE_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one record.

    Args:
      record: 'image' holds the bytes of a PNG or JPEG file, 'label' those of an 8-bit grey PNG file
        with one value a pixel, 'id' names the record in errors. 'train_ids', 256 bytes, turns the
        values into class numbers; without it they are class numbers.

    Returns:
      The image, uint8 `[H, W, 3]` in RGB order, and the class numbers, uint8 `[H, W]`.

    Raises:
      ValueError: if either cannot be decoded, the label is not an 8-bit grey PNG, or the sizes
        differ.
    """
    label = decode_label(record)
    image = decode_image(record)
    if image.shape[:2] != label.shape:
        raise ValueError(
            f"{_name(record, 'label')}: expected the size of the image, {_size(image)}, got "
            f"{_size(label)}; build the dataset with labels drawn at full size."
        )
    return image, label


def decode_image(record: Record) -> np.ndarray:
    """Decodes the image of a record alone, uint8 `[H, W, 3]` in RGB order.

    Raises:
      ValueError: if it cannot be decoded.
    """
    return _decode_bytes(record, "image", _IMAGE_FLAGS)


def decode_label(record: Record) -> np.ndarray:
    """Decodes the label of a record alone.

    Args:
      record: as for `decode`; 'image' is not read.

    Returns:
      The class numbers, uint8 `[H, W]`.

    Raises:
      ValueError: if the label is not an 8-bit grey PNG, or cannot be decoded.
    """
    _check_label_format(record)
    label = _decode_bytes(record, "label", cv2.IMREAD_UNCHANGED)
    train_ids = record.get("train_ids")
    if train_ids is not None:
        label = cv2.LUT(label, np.frombuffer(train_ids, np.uint8))
    return label


def image_size(record: Record) -> tuple[int, int]:
    """Reads the size of a record's image from its header, without decoding it.

    Args:
      record: as for `decode`; only 'image' and 'id' are read.

    Returns:
      Height and width in pixels, of the image that `decode` returns.

    Raises:
      ValueError: if the image is neither PNG nor JPEG, or its header is cut short.
    """
    data = record["image"]
    size = None
    if data.startswith(PNG_SIGNATURE):
        size = _png_size(data)
    elif data.startswith(_JPEG_START):
        size = _jpeg_size(data)
    if size is None:
        raise ValueError(
            f"{_name(record, 'image')}: expected a whole PNG or JPEG file, got {len(data)} bytes "
            f"starting {data[:8]!r}; rebuild the dataset."
        )
    return size


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Height and width from the IHDR chunk, which always comes first; None if it is cut short."""
    if len(data) < 24:
        return None
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width from the first start-of-frame segment; None if there is none."""
    at = len(_JPEG_START)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            return (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
            )
        if marker == 0xFF:  # a fill byte before the marker
            at += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _check_label_format(record: Record) -> None:
    """Refuses what OpenCV would silently change: palettes to colours, 1 to 4 bits to 0..255."""
    data = record["label"]
    if not data.startswith(PNG_SIGNATURE) or len(data) < 26:
        raise ValueError(
            f"{_name(record, 'label')}: expected an 8-bit grey PNG file, got {len(data)} bytes "
            f"starting {data[:8]!r}; rebuild the dataset."
        )
    bits, colour = data[24], data[25]
    if (bits, colour) != (8, 0):
        kind = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
        raise ValueError(
            f"{_name(record, 'label')}: expected an 8-bit grey PNG file, got {bits}-bit "
            f"{kind.get(colour, f'colour type {colour}')}; convert class numbers to single-channel "
            "8-bit pixels when building the dataset."
        )


def _decode_bytes(record: Record, field: str, flags: int) -> np.ndarray:
    data = np.frombuffer(record[field], np.uint8)
    # cv2 raises on an empty buffer and on a corrupt header, and returns None for the rest.
    try:
        array = cv2.imdecode(data, flags)
    except cv2.error:
        array = None
    if array is None:
        raise ValueError(
            f"{_name(record, field)}: OpenCV cannot decode these {len(data)} bytes; the file is "
            "empty or damaged, replace it and rebuild the dataset."
        )
    return array


def _name(record: Record, field: str) -> str:
    return f"record {record['id']!r}, field {field!r}"


def _size(array: np.ndarray) -> str:
    height, width = array.shape[:2]
    return f"{height}x{width}"
