"""Images and labels to the bytes of a record, and labels back."""

import contextlib
import io
import struct
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from data import header

JPEG_QUALITY = 95
MOST_JPEG_SIDE = 65500  # pixels, of libjpeg

# Large pictures are a use; `header.read` refuses those that claim more than their bytes can hold.
Image.MAX_IMAGE_PIXELS = None

# The turn is made here: which files OpenCV turns depends on its version.
_IMAGE_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_FLIPS = {2: 1, 4: 0}
_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}

_PALETTE = 3  # colour type of a PNG
_COLOURED = (2, _PALETTE, 6)


def encode_image(image: np.ndarray) -> bytes:
    """JPEG bytes of an RGB image `[H, W, 3]` uint8, colours at full resolution.

    A side of more than `MOST_JPEG_SIDE` is reduced to that, and the other one as much.
    """
    longest = max(image.shape[:2])
    if longest > MOST_JPEG_SIDE:
        rows, columns = (max(n * MOST_JPEG_SIDE // longest, 1) for n in image.shape[:2])
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    options = [
        cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


def encode_label(label: np.ndarray) -> bytes:
    """Grey PNG bytes of a label `[H, W]` uint8."""
    return cv2.imencode(".png", label)[1].tobytes()


def decode_image(
    data: bytes, label_size: header.Size | None = None, *, upright: bool = True
) -> np.ndarray:
    """The picture in a JPEG or PNG file as it is displayed, or as it was labelled.

    Args:
      data: the file.
      label_size: rows and columns of the label; None if there is none.
      upright: whether it is turned at all.

    Returns:
      RGB, uint8 `[H, W, 3]`.

    Raises:
      ValueError: it is no such file, is damaged, or claims more than its bytes can hold.
    """
    turn = header.read(data).turn(label_size) if upright else 1
    return _turned(_opencv(data, _IMAGE_FLAGS), turn)


def decode_unchanged(data: bytes) -> np.ndarray:
    """What OpenCV makes of a file: of an 8-bit grey PNG the values, uint8 `[H, W]`.

    Raises:
      ValueError: it is damaged.
    """
    return _opencv(data, cv2.IMREAD_UNCHANGED)


def decode_label(data: bytes) -> np.ndarray:
    """The values `[H, W]` uint8 of an 8-bit grey PNG, or the indices of a palette PNG.

    Raises:
      ValueError: it is another picture, is damaged, or claims more than its bytes can hold.
    """
    with _opened(data) as (label, orientation):
        if label.mode not in ("P", "L"):
            raise ValueError(f"its pixels are of mode {label.mode!r}")
        if label.mode == "L" and data[24] != 8:
            raise ValueError(f"its pixels are grey of {data[24]} bits")
        return _turned(np.asarray(label), orientation)


def decode_colours(data: bytes) -> np.ndarray:
    """The colours `[H, W, 4]` uint8, RGBA, of an 8-bit RGB, RGBA or palette PNG.

    Raises:
      ValueError: it is another picture, is damaged, or claims more than its bytes can hold.
    """
    with _opened(data) as (label, orientation):
        # Pillow takes 16 bits for 8 without a word.
        bits, kind = data[24], data[25]
        if kind not in _COLOURED:
            raise ValueError(f"its pixels are grey (mode {label.mode!r}), not colours")
        if kind != _PALETTE and bits != 8:
            raise ValueError(f"its colours are of {bits} bits")
        palette = palette_of(data)
        if palette is not None and np.asarray(label).max() >= len(palette):
            raise ValueError("it is damaged (it has pixels beyond its palette)")
        colours = np.asarray(label.convert("RGBA"))
    if not np.array_equal(_opencv(data, _IMAGE_FLAGS), colours[..., :3]):
        raise ValueError("OpenCV and Pillow decode it to different colours, it is damaged")
    return _turned(colours, orientation)


def holds_colours(data: bytes) -> bool:
    """Whether a file is a PNG of RGB or RGBA."""
    return data.startswith(header.PNG_SIGNATURE) and data[25:26] in (b"\2", b"\6")


def palette_of(data: bytes) -> np.ndarray | None:
    """The colours `[n, 3]` uint8 of the indices of a palette PNG; None of another PNG."""
    for kind, start, end in header.png_chunks(data):
        if kind == b"PLTE" and data[25] == _PALETTE:
            return np.frombuffer(data[start:end], np.uint8)[: (end - start) // 3 * 3].reshape(-1, 3)
    return None


def grey_png(data: bytes) -> bytes:
    """A label PNG as the reader takes it: the bytes themselves if they are 8-bit grey.

    Args:
      data: what `decode_label` takes.

    Returns:
      Bytes of an upright 8-bit grey PNG with the same values.
    """
    bits, colour = data[24], data[25]
    # A colour declared transparent would add a channel.
    transparent = b"tRNS" in data[: data.find(b"IDAT")]
    if (bits, colour) == (8, 0) and not transparent and header.read(data).orientation == 1:
        return data
    return encode_label(decode_label(data))


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Image.Image, int]]:
    """A PNG and its orientation; ValueError if it is none, or is damaged."""
    found = header.read(data)
    if found.form != "PNG":
        raise ValueError(f"it is a {found.form} file, not a PNG")
    # Pillow and not cv2, which turns the indices of a palette PNG into colours.
    try:
        with Image.open(io.BytesIO(data)) as label:
            yield label, found.orientation
    except (OSError, SyntaxError, struct.error) as error:
        raise ValueError(f"it is damaged ({error})") from error


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels `[H, W, ...]` turned as EXIF says it."""
    if orientation in (5, 7):  # these two mirror at a diagonal
        pixels, orientation = cv2.transpose(pixels), {5: 1, 7: 3}[orientation]
    if orientation in _FLIPS:
        return cv2.flip(pixels, _FLIPS[orientation])
    if orientation in _ROTATIONS:
        return cv2.rotate(pixels, _ROTATIONS[orientation])
    return pixels


def _opencv(data: bytes, flags: int) -> np.ndarray:
    # cv2 raises on a corrupt header or too little memory, and returns None for the rest.
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV cannot decode these {len(data)} bytes ({error.err})") from error
    if array is None:
        raise ValueError(f"OpenCV cannot decode these {len(data)} bytes, they are damaged")
    return array
