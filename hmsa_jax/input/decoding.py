"""Encoded records to arrays: what the bytes of a source mean."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from data import header, pixels

Record = Mapping[str, Any]
"""One example as a source stores it: 'image' and 'label' are encoded bytes, 'id' is a string.

'train_ids', if there, is 256 bytes: the class number for which each label value stands.
"""


def decode(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one record.

    Args:
      record: 'image' holds the bytes of a PNG or JPEG file, 'label' those of an 8-bit grey PNG file
        with one value a pixel, 'id' names the record in errors. 'train_ids', 256 bytes, turns the
        values into class numbers; without it they are class numbers.

    Returns:
      The image, uint8 `[H, W, 3]` in RGB order, and the class numbers, uint8 `[H, W]`. An EXIF
      orientation turns the image, unless its label has the size of the stored pixels alone.

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
    """Decodes the image of a record alone, uint8 `[H, W, 3]` in RGB order, turned as in `decode`.

    Raises:
      ValueError: if it cannot be decoded.
    """
    try:
        return pixels.decode_image(record["image"], header.png_size(record.get("label")))
    except ValueError as error:
        raise ValueError(
            f"{_name(record, 'image')}: cannot decode it: {error}; replace the file and rebuild"
            " the dataset."
        ) from error


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
    try:
        label = pixels.decode_unchanged(record["label"])
    except ValueError as error:
        raise ValueError(
            f"{_name(record, 'label')}: {error}; replace the file and rebuild the dataset."
        ) from error
    train_ids = record.get("train_ids")
    if train_ids is not None:
        label = cv2.LUT(label, np.frombuffer(train_ids, np.uint8))
    return label


def image_size(record: Record) -> header.Size:
    """Reads the size of a record's image from its header, without decoding it.

    Args:
      record: as for `decode`; of the label, if there is one, only the header is read. If it has a
        'size', that is returned.

    Returns:
      Height and width in pixels, of the image that `decode` returns.

    Raises:
      ValueError: if the image is neither PNG nor JPEG, its header is cut short, or it claims more
        pixels than its bytes can hold.
    """
    if "size" in record:
        return record["size"]
    try:
        return header.read(record["image"]).size(header.png_size(record.get("label")))
    except ValueError as error:
        raise ValueError(f"{_name(record, 'image')}: {error}; rebuild the dataset.") from error


def _check_label_format(record: Record) -> None:
    """Refuses what OpenCV would silently change: palettes to colours, 1 to 4 bits to 0..255."""
    data = record["label"]
    if not data.startswith(header.PNG_SIGNATURE) or len(data) < 26:
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


def _name(record: Record, field: str) -> str:
    return f"record {record['id']!r}, field {field!r}"


def _size(array: np.ndarray) -> str:
    height, width = array.shape[:2]
    return f"{height}x{width}"
