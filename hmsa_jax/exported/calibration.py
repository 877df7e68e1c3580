"""The images that ranges of 8-bit numbers are measured on."""

import numpy as np

from hmsa_jax.input import decoding
from hmsa_jax.input.image_files import Selection
from hmsa_jax.input.source import Source

MOST = 32  # images; each is predicted three times


def images_of(source: Source, size: tuple[int, int]) -> list[np.ndarray]:
    """At most `MOST` images, spread evenly over a source, of each the middle.

    Args:
      source: of images with labels or without.
      size: rows and columns that are cut out.

    Returns:
      Images, uint8 `[H, W, 3]`, RGB.

    Raises:
      ValueError: there are none; or some, all of which are named, cannot be read or are smaller.
    """
    if not len(source):
        raise ValueError("--calibration: there are no images in it; name others")
    count = min(len(source), MOST)
    chosen = Selection(source, np.linspace(0, len(source) - 1, count).round().astype(int).tolist())
    images, errors = [], {}
    for index in range(count):
        try:
            images.append(_middle(chosen[index], size))
        except ValueError as error:
            errors[index] = error
    if errors:
        raise ValueError(
            f"--calibration: {len(errors)} of {count} images cannot be used; name a directory"
            " without them, or a smaller --size:\n  " + "\n  ".join(chosen.describe(errors))
        )
    return images


def _middle(record: decoding.Record, size: tuple[int, int]) -> np.ndarray:
    image = decoding.decode_image(record)
    (rows, columns), (own_rows, own_columns) = size, image.shape[:2]
    if own_rows < rows or own_columns < columns:
        raise ValueError(
            f"image {record['id']!r} is {own_rows} x {own_columns}; expected {rows} x {columns}"
            " pixels or more"
        )
    top, left = (own_rows - rows) // 2, (own_columns - columns) // 2
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])
