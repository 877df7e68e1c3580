"""A window of a scaled image or label, cut straight out of the source.

The whole is never scaled: a window costs time in proportion to itself alone. Each function returns
what scaling the whole and then cutting the window would give. docs/paper_protocol.md compares them.
"""

import importlib.util
import math

import cv2
import numpy as np
from PIL import Image

_SUPPORT = 2  # of the bicubic kernel: source pixels to either side, more when it reduces


def bicubic(
    image: np.ndarray, scaled_size: tuple[int, int], first: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Bicubic, and antialiased: where it reduces, the kernel covers all pixels that become one.

    Args:
      image: the source, uint8 `[H, W, 3]`.
      scaled_size: height and width of the whole image after scaling, in pixels.
      first: first row and column of the window in the scaled image.
      size: height and width of the window, which lies within the scaled image.

    Returns:
      The window, uint8 `[*size, 3]`.
    """
    window, box = _source_window(image, scaled_size, first, size)
    return np.array(window.resize(size[::-1], Image.Resampling.BICUBIC, box=box))


def _source_window(
    image: np.ndarray, scaled_size: tuple[int, int], first: tuple[int, int], size: tuple[int, int]
) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """What the kernel sees of the source, and the part that is shown: left, top, right, bottom."""
    (top, bottom, above, below), (left, right, before, after) = map(
        _source_of, image.shape[:2], scaled_size, first, size
    )
    window = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return window, (before - left, above - top, after - left, below - top)


def _source_of(side: int, scaled: int, first: int, length: int) -> tuple[int, int, float, float]:
    """Source pixels, from and to, that the kernel sees of a side, and the part that is shown."""
    start, stop = first * side / scaled, (first + length) * side / scaled
    margin = _SUPPORT * max(side / scaled, 1) + 1  # one more for Pillow's rounding
    return max(math.floor(start - margin), 0), min(math.ceil(stop + margin), side), start, stop


def bicubic_simd(
    image: np.ndarray, scaled_size: tuple[int, int], first: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """As `bicubic`, in a quarter of its time: coefficients have 16 bits, where Pillow's have 22.

    Some values differ from those of `bicubic`, by 2 of 255 at most. It needs cykooz-resizer.

    Arguments and result as for `bicubic`.
    """
    import cykooz_resizer  # an extra, which only this way needs

    source, (left, top, right, bottom) = _source_window(image, scaled_size, first, size)
    columns = Image.new("RGB", (size[1], source.height))
    window = Image.new("RGB", size[::-1])
    kernel = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.catmull_rom)
    # Columns before rows, as Pillow has it: what overshoots is cut off in between. Both in one call
    # would be rows before columns.
    for before, after, box in (
        (source, columns, (left, 0, right - left, source.height)),
        (columns, window, (0, top, size[1], bottom - top)),
    ):
        options = cykooz_resizer.ResizeOptions(
            resize_alg=kernel, crop_box=cykooz_resizer.CropBox(*box)
        )
        cykooz_resizer.Resizer().resize_pil(before, after, options)
    return np.array(window)


def bilinear(
    image: np.ndarray, scaled_size: tuple[int, int], first: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Bilinear without a filter: faster, and aliased where it reduces.

    Arguments and result as for `bicubic`.
    """
    steps = [side / scaled for side, scaled in zip(image.shape, scaled_size, strict=False)]
    # Pixel i of the scaled image has its centre at (i + 1/2) * step in the source, where the centre
    # of pixel k lies at k + 1/2. An affine warp takes this offset as it is, with its fraction; a
    # resize of a window of whole source pixels would shift the image against its label.
    starts = [(i + 0.5) * step - 0.5 for i, step in zip(first, steps, strict=True)]
    # What lies outside of the window goes first: OpenCV 4 takes no side of 32767 pixels or more.
    rows, columns = (
        _read(start, step, count, side)
        for start, step, count, side in zip(starts, steps, size, image.shape, strict=False)
    )
    source_from_window = np.array(
        [[steps[1], 0, starts[1] - columns.start], [0, steps[0], starts[0] - rows.start]]
    )
    return cv2.warpAffine(
        image[rows, columns],
        source_from_window,
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _read(start: float, step: float, count: int, side: int) -> slice:
    """What `count` pixels lie between, from the place `start` on, and one more on both sides."""
    last = start + (count - 1) * step
    return slice(max(math.floor(start) - 1, 0), min(math.ceil(last) + 2, side))


def nearest(
    label: np.ndarray, scaled_size: tuple[int, int], first: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Takes the source pixel of a label `[H, W]` that holds each centre. Arguments as in `bicubic`.

    In whole numbers, floor((i + 1/2) * source / scaled). cv2.INTER_NEAREST leaves out the half, and
    how the exact variants break ties differs between the versions of OpenCV.

    >>> nearest(np.arange(16).reshape(4, 4), (2, 2), (0, 0), (2, 2)).tolist()
    [[5, 7], [13, 15]]
    """
    rows, columns = (
        (2 * np.arange(start, start + length) + 1) * side // (2 * scaled)
        for start, length, side, scaled in zip(first, size, label.shape, scaled_size, strict=True)
    )
    return label.take(rows, axis=0).take(columns, axis=1)


RESAMPLINGS = {"bicubic": bicubic, "bilinear": bilinear, "bicubic_simd": bicubic_simd}


def check_installed(name: str) -> None:
    """Raises ValueError if a resampling of `RESAMPLINGS` needs a package that is not there."""
    if name == "bicubic_simd" and importlib.util.find_spec("cykooz_resizer") is None:
        raise ValueError(
            f"data.resampling is {name}, which needs cykooz-resizer; pip install -e .[simd]"
        )
