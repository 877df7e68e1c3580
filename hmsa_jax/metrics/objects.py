"""Objects of a label by size: an object is what hangs together of a class, also by corners."""

import cv2
import numpy as np

# The limits are parts of the image's area: of 1024 x 2048 pixels, squares of 46 and of 145 pixels.
SIZES = ("small", "medium", "large")
LIMITS = (0.001, 0.01)


def objects_by_size(label: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The size of the object that each pixel belongs to, and how many objects there are.

    Args:
      label: uint8 `[H, W]`; what is not below `classes` is of no object.
      classes: number of classes.

    Returns:
      Numbers in `SIZES`, uint8 `[H, W]`, 0 where there is no object; and the objects by class and
      size, int64 `[classes, 3]`.
    """
    sizes = np.zeros(label.shape, np.uint8)
    objects = np.zeros((classes, len(SIZES)), np.int64)
    for number in np.unique(label[label < classes]):
        mask = label == number
        _, components, stats, _ = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=8
        )
        areas = stats[1:, cv2.CC_STAT_AREA]
        size_of = np.digitize(areas / label.size, LIMITS)
        sizes[mask] = size_of[components[mask] - 1]
        objects[number] = np.bincount(size_of, minlength=len(SIZES))
    return sizes, objects
