"""Calibration: whether a prediction is right as often as its probability says.

C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from data.label_spec import IGNORE
from hmsa_jax.metrics import tally
from hmsa_jax.metrics.metric import Figures, Metric, Prediction, Truth

BINS = 15


def counter(truth: Truth) -> Callable[[Prediction], dict[str, jax.Array]]:
    """Sorts pixels by the probability of the predicted class into bins of equal width.

    Bin k holds the probabilities in (k / 15, (k + 1) / 15]. Ignored pixels are in none.

    Returns:
      A function to `count` and `hits` (pixels, and those predicted right), int32 `[B, 15]`, and
      `confidence`, the sum of the probabilities, float32 `[B, 15]`.
    """

    def count(prediction: Prediction) -> dict[str, jax.Array]:
        valid = truth.labels < truth.classes
        bins = jnp.clip(jnp.ceil(prediction.confidence * BINS) - 1, 0, BINS - 1)
        bins = jnp.where(valid, bins.astype(jnp.uint8), IGNORE)
        hits = prediction.classes == truth.labels
        pixels = tally.counts(bins, [valid, hits], BINS)
        return {
            "count": pixels[..., 0],
            "hits": pixels[..., 1],
            "confidence": tally.sums(bins, prediction.confidence, BINS),
        }

    return count


def expected_calibration_error(
    count: np.ndarray, hits: np.ndarray, confidence: np.ndarray
) -> float:
    """The mean over pixels of |accuracy - mean confidence| of their bin (equation 3).

    Args:
      count: pixels of each bin, `[bins]`.
      hits: those predicted right, `[bins]`.
      confidence: the sum of their probabilities, `[bins]`.

    Returns:
      A fraction; NaN if there is no pixel.

    >>> expected_calibration_error(np.array([4, 0]), np.array([2, 0]), np.array([3.0, 0.0]))
    0.25
    """
    total = np.sum(count)
    return float(np.abs(hits - confidence).sum() / total) if total else float("nan")


def figures(counts: Mapping[str, np.ndarray]) -> Figures:
    """The expected calibration error and the curve it is taken from; counts as of `counter`."""
    return Figures(
        overall={"expected_calibration_error": expected_calibration_error(**counts)},
        curve={name: values.tolist() for name, values in counts.items()},
    )


METRIC = Metric(
    counter, figures, titles={"expected_calibration_error": "calibration error"}, best=min
)
