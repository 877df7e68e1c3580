"""How far a mean IoU may be off because other images could have been drawn: the bootstrap.

B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13 (percentiles).
"""

import numpy as np

from hmsa_jax.metrics import confusion

RESAMPLES = 1000
PERCENT = 95
_SEED = 0
_AT_ONCE = 50  # resamples whose weights are in memory


def mean_iou_of_resamples(confusions: np.ndarray) -> np.ndarray:
    """The mean IoU of as many images, drawn from the given ones with replacement, 1000 times.

    The draws depend on the number of images alone, so that two results for the same images are
    drawn alike and their differences are paired.

    Args:
      confusions: integer `[N, C, C]`, a matrix an image; row: label, column: prediction.

    Returns:
      float64 `[1000]`; NaN where no class occurs, and everywhere for fewer than two images.
    """
    images = len(confusions)
    if images < 2:
        return np.full(RESAMPLES, np.nan)
    hits = np.diagonal(confusions, axis1=1, axis2=2).astype(np.float64)
    unions = confusions.sum(1, np.float64) + confusions.sum(2, np.float64) - hits
    rng = np.random.default_rng(_SEED)
    means: list[float] = []
    for _ in range(RESAMPLES // _AT_ONCE):
        weights = rng.multinomial(images, np.full(images, 1 / images), _AT_ONCE)
        ious = confusion.fraction(weights @ hits, weights @ unions)
        means += map(confusion.mean, ious)
    return np.array(means)


def mean_over_runs(samples: np.ndarray) -> np.ndarray:
    """The mean of as many runs, drawn from the given ones with replacement, in each resample.

    With it an interval says how far a mean may be off because other images and other seeds could
    have been drawn. Few runs show little of what seeds do: of three, a ninth of the resamples has
    one alone. The draws depend on the number of runs alone, so that differences are paired.

    Args:
      samples: float64 `[R, 1000]`, for each run what `mean_iou_of_resamples` returned or a
        difference of such.

    Returns:
      float64 `[1000]`.
    """
    runs = len(samples)
    drawn = np.random.default_rng((_SEED, 1)).integers(runs, size=(RESAMPLES, runs))
    return samples[drawn, np.arange(RESAMPLES)[:, None]].mean(1)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95 percent of samples; NaN where none is known.

    >>> interval(np.arange(1001.0))
    (25.0, 975.0)
    """
    known = samples[~np.isnan(samples)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (100 - PERCENT) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
