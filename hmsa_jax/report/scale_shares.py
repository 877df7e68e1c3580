"""How much each scale counts for the pixels of each class, and of objects of each size."""

from collections.abc import Mapping, Sequence

import numpy as np

from hmsa_jax.metrics.objects import SIZES, objects_by_size


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
        size_of, objects = objects_by_size(label, len(self.pixels))
        self.objects += objects
        for number in np.unique(label[label < len(self.pixels)]):
            mask = label == number
            size = size_of[mask]
            self.pixels[number] += np.bincount(size, minlength=len(SIZES))
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
