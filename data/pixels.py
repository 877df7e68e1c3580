"""Images and labels to the bytes of a record, and labels back."""

import io

import cv2
import numpy as np
from PIL import Image

JPEG_QUALITY = 95


def encode_image(image: np.ndarray) -> bytes:
    """JPEG bytes of an RGB image `[H, W, 3]` uint8, colours at full resolution."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


def encode_label(label: np.ndarray) -> bytes:
    """Grey PNG bytes of a label `[H, W]` uint8."""
    return cv2.imencode(".png", label)[1].tobytes()


def decode_label(data: bytes) -> np.ndarray:
    """The values `[H, W]` uint8 of an 8-bit grey PNG, or the indices of a palette PNG.

    Raises:
      ValueError: if it is another picture.
      OSError: if it is no picture, or a damaged one.
    """
    # Pillow and not cv2, which turns the indices of a palette PNG into colours.
    with Image.open(io.BytesIO(data)) as label:
        if label.format != "PNG":
            raise ValueError(f"it is a {label.format} file, not a PNG")
        if label.mode not in ("P", "L"):
            raise ValueError(f"its pixels are of mode {label.mode!r}")
        if label.mode == "L" and data[24] != 8:
            raise ValueError(f"its pixels are grey of {data[24]} bits")
        return np.asarray(label)


def grey_png(data: bytes) -> bytes:
    """A label PNG as the reader takes it: the bytes themselves if they are 8-bit grey.

    Args:
      data: what `decode_label` takes.

    Returns:
      Bytes of an 8-bit grey PNG with the same values.
    """
    bits, colour = data[24], data[25]
    # A colour declared transparent would add a channel.
    transparent = b"tRNS" in data[: data.find(b"IDAT")]
    if (bits, colour) == (8, 0) and not transparent:
        return data
    return encode_label(decode_label(data))
