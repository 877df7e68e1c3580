"""How much each scale counts for the pixels of each class, and of objects of each size."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

# An object is what hangs together of a class in a label, also by corners. The limits are parts of
# the image's area: of 1024 x 2048 pixels, squares of 46 and of 145 pixels.
SIZES = ("small", "medium", "large")
LIMITS = (0.001, 0.01)


class ScaleShares:
    """Adds up the shares of each scale in the fused logits, over the labelled pixels of images.

    Args:
      classes: number of classes.
      scales: of the protocol.

    Attributes:
      scales: in ascending order.
      pixels: by class and size of the object, int64 `[classes, 3]`.
      objects: likewise, how many there are.
    """

    def __init__(self, classes: int, scales: Sequence[float]):
        self.scales = tuple(sorted(scales))
        self._sums = np.zeros((classes, len(SIZES), len(self.scales)))
        self.pixels = np.zeros((classes, len(SIZES)), np.int64)
        self.objects = np.zeros((classes, len(SIZES)), np.int64)

    def add(self, label: np.ndarray, shares: Mapping[float, np.ndarray]) -> None:
        """Takes an image.

        Args:
          label: class numbers, uint8 `[H, W]`; one that is no class is not counted.
          shares: scale -> 255 times its share, uint8 `[H, W]`.
        """
        for number in np.unique(label[label < len(self.pixels)]):
            mask = label == number
            _, objects, stats, _ = cv2.connectedComponentsWithStats(
                mask.astype(np.uint8), connectivity=8
            )
            areas = stats[1:, cv2.CC_STAT_AREA]
            size_of = np.digitize(areas / label.size, LIMITS)
            size = size_of[objects[mask] - 1]
            self.pixels[number] += np.bincount(size, minlength=len(SIZES))
            self.objects[number] += np.bincount(size_of, minlength=len(SIZES))
            for i, scale in enumerate(self.scales):
                of_class = shares[scale][mask].astype(np.float64)
                self._sums[number, :, i] += np.bincount(size, of_class, len(SIZES))

    def by_class(self) -> np.ndarray:
        """The mean share of each scale over the pixels of a class, percent `[classes, scales]`."""
        return _means(self._sums.sum(1), self.pixels.sum(1))

    def by_size(self) -> np.ndarray:
        """Over the pixels of objects of each size, percent `[3, scales]`."""
        return _means(self._sums.sum(0), self.pixels.sum(0))

    def by_class_and_size(self) -> np.ndarray:
        """Over the pixels of a class in objects of each size, percent `[classes, 3, scales]`."""
        return _means(self._sums, self.pixels)


def _means(sums: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Percents that sum to 100 over the scales; NaN where there is no pixel."""
    with np.errstate(invalid="ignore"):
        means = sums / (255 * np.where(pixels > 0, pixels, np.nan))[..., None]
        return 100 * means / means.sum(-1, keepdims=True)
