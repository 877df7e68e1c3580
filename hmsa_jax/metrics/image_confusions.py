"""The confusion matrix of each image by each protocol, and what can be asked of them."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from hmsa_jax.metrics import bootstrap, confusion


@dataclasses.dataclass(frozen=True)
class ImageScore:
    """What a protocol reaches on one image.

    Attributes:
      image: its id.
      mean_iou: of the classes that are labelled or predicted in it; NaN if there are none.
      pixel_accuracy: NaN if no pixel is labelled.
    """

    image: str
    mean_iou: float
    pixel_accuracy: float


@dataclasses.dataclass(frozen=True)
class ImageConfusions:
    """Pixels by label and prediction, of each image and protocol.

    Attributes:
      images: their ids, N.
      protocols: their names, P.
      classes: their names, C.
      counts: int32 `[N, P, C, C]`; row: label, column: prediction.
    """

    images: tuple[str, ...]
    protocols: tuple[str, ...]
    classes: tuple[str, ...]
    counts: np.ndarray

    def of(self, protocol: str) -> np.ndarray:
        """The matrices of a protocol, int32 `[N, C, C]`."""
        return self.counts[:, self.protocols.index(protocol)]

    @functools.cached_property
    def totals(self) -> Mapping[str, np.ndarray]:
        """protocol -> the sum over the images, int64 `[C, C]`."""
        return dict(zip(self.protocols, self.counts.sum(0, np.int64), strict=True))

    @functools.cached_property
    def resampled(self) -> Mapping[str, np.ndarray]:
        """protocol -> the mean IoU of each resample of the images, float64 `[1000]`."""
        return {name: bootstrap.mean_iou_of_resamples(self.of(name)) for name in self.protocols}

    def labelled(self) -> np.ndarray:
        """How many pixels of each image have each label, int64 `[N, C]`."""
        return self.counts[:, 0].sum(2, np.int64)

    def worst_first(self, protocol: str) -> list[ImageScore]:
        """The images by mean IoU, those without one last."""
        scores = [
            ImageScore(image, confusion.mean_iou(counts), confusion.pixel_accuracy(counts))
            for image, counts in zip(self.images, self.of(protocol), strict=True)
        ]
        return sorted(scores, key=lambda score: (np.isnan(score.mean_iou), score.mean_iou))
