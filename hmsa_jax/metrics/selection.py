"""What a choice among many protocols is worth on images that it was not made by."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hmsa_jax.metrics import confusion

SPLITS = 100
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Selection:
    """Means over random halves of the images.

    Attributes:
      seen: how far the protocol that is best on a half is beyond the reference there.
      unseen: how far the same protocol is beyond it on the other half.
    """

    seen: float
    unseen: float


def on_other_images(
    confusions: np.ndarray, choices: Sequence[int], reference: int
) -> Selection | None:
    """Chooses the highest mean IoU on one half of the images and scores it on the other, 100 times.

    Args:
      confusions: integer `[N, P, C, C]`, of each image and protocol.
      choices: numbers of the protocols to choose from.
      reference: number of the one that they are compared with.

    Returns:
      Fractions; None for fewer than four images.
    """
    images = len(confusions)
    if images < 4:
        return None
    hits = np.diagonal(confusions, axis1=2, axis2=3).astype(np.float64)  # [N, P, C]
    unions = confusions.sum(2, np.float64) + confusions.sum(3, np.float64) - hits
    rng = np.random.default_rng(_SEED)
    gains: list[tuple[float, float]] = []
    for _ in range(SPLITS):
        order = rng.permutation(images)
        halves = order[: images // 2], order[images // 2 :]
        seen, unseen = (_mean_ious(hits[half], unions[half]) for half in halves)
        best = choices[int(np.argmax(np.nan_to_num(seen[list(choices)])))]
        gains.append((seen[best] - seen[reference], unseen[best] - unseen[reference]))
    return Selection(*(float(mean) for mean in np.mean(gains, 0)))


def _mean_ious(hits: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """The mean IoU of each protocol, `[P]`, over the given images."""
    ious = confusion.fraction(hits.sum(0), unions.sum(0))
    return np.array([confusion.mean(of_protocol) for of_protocol in ious])
