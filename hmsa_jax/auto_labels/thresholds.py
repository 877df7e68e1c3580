"""Above which probability a label is kept: the paper's one threshold, or one of each class.

A teacher is less sure of thin and rare things than of roads. One threshold for all classes leaves
these out of the labels, and a student learns that they are rare. A threshold for each class, above
which lies the same share of its pixels, keeps the classes in proportion (Zou, Yu, Kumar, Wang,
"Unsupervised Domain Adaptation for Semantic Segmentation via Class-Balanced Self-Training", 2018).
"""

import re
from collections.abc import Iterable

import numpy as np

from hmsa_jax.auto_labels.labelled_images import Prediction

SAMPLE = 200
"""Images that tell how sure a teacher is of each class."""

Threshold = float | str
"""A probability in [0, 1), or the share of each class's pixels that is kept, like '70%'."""

_BYTES = 256
_EXPECTED = "expected a number in [0, 1), or a share of each class, from above 0% to 100%"
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%")


def read(text: str) -> Threshold:
    """The threshold that is typed.

    Raises:
      ValueError: it is none.
    """
    try:
        threshold = text if text.endswith("%") else float(text)
        share_of(threshold)
    except ValueError as error:
        raise ValueError(f"{text!r}; {_EXPECTED}") from error
    return threshold


def share_of(threshold: Threshold) -> float | None:
    """Which share of each class is kept; None where one probability decides.

    >>> share_of("70%")
    0.7

    Raises:
      ValueError: the threshold is none.
    """
    if not isinstance(threshold, str) and 0 <= threshold < 1:
        return None
    match = _SHARE.fullmatch(str(threshold))
    percent = float(match[1]) if match else 0.0
    if not 0 < percent <= 100:
        raise ValueError(f"--threshold is {threshold}; {_EXPECTED}")
    return percent / 100


def describe(threshold: Threshold) -> str:
    """Which labels are kept.

    >>> describe(0.9)
    'a label is kept above a probability of 0.9'
    """
    if isinstance(threshold, str):
        return f"the surest {threshold} of each class's labels are kept"
    return f"a label is kept above a probability of {threshold:g}"


def sample(count: int) -> list[int]:
    """The numbers of at most `SAMPLE` of so many images, evenly spaced."""
    return [*range(count)] if count <= SAMPLE else [i * count // SAMPLE for i in range(SAMPLE)]


def histogram(predictions: Iterable[Prediction], classes: int) -> np.ndarray:
    """Pixels by predicted class and by 255 times its probability, int64 `[classes, 256]`."""
    counts = np.zeros(classes * _BYTES, np.int64)
    for prediction in predictions:
        numbers = prediction.classes.astype(np.int64) * _BYTES + prediction.probability
        counts += np.bincount(numbers.ravel(), minlength=len(counts))
    return counts.reshape(classes, _BYTES)


def least_bytes(share: float, counts: np.ndarray) -> list[int]:
    """For each class the largest byte at or above which lies at least a share of its pixels.

    Args:
      share: in (0, 1].
      counts: from `histogram`. A class without pixels is given the byte of all pixels together.
    """

    def of(row):
        above = row[::-1].cumsum()[::-1]
        return int(np.flatnonzero(above >= share * row.sum())[-1])

    together = counts.sum(0)
    return [of(row if row.any() else together) for row in counts]
