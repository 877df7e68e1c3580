"""Labels as pictures."""

from collections.abc import Sequence

import numpy as np


def coloured(label: np.ndarray, palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The colour of each pixel's class; black for a number that is no class.

    Args:
      label: class numbers, uint8 `[H, W]`.
      palette: RGB of each class.

    Returns:
      uint8 `[H, W, 3]`, RGB.
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    return colours[label]


def beside(
    image: np.ndarray, label: np.ndarray, palette: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """An image `[H, W, 3]` and on its right its coloured label, uint8 `[H, 2 W, 3]`."""
    return np.concatenate([image, coloured(label, palette)], axis=1)
