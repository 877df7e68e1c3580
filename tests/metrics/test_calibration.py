import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.metrics import calibration
from hmsa_jax.metrics.metric import Prediction, Truth

CLASSES, BINS = 4, 15


def test_bins_and_error_are_those_of_their_definition():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 3, CLASSES, 255], (3, 37, 53)).astype(np.uint8)
    labels[0, :, 50:] = labels[1, 30:] = 255  # as of padding
    predictions = rng.integers(0, CLASSES, labels.shape).astype(np.uint8)
    confidence = rng.uniform(0.25, 1, labels.shape).astype(np.float32)
    confidence[:, :3] = 1.0
    confidence[:, 3] = np.float32(0.6)  # the upper end of a bin, but for rounding

    @jax.jit
    def count(*arrays):
        labels, *prediction = arrays
        return calibration.counter(Truth(labels, jnp.zeros((3, 2), jnp.int32), CLASSES))(
            Prediction(*prediction)
        )

    counts = {k: np.asarray(v) for k, v in count(labels, predictions, confidence).items()}
    assert {k: v.dtype.name for k, v in counts.items()} == {
        "count": "int32",
        "hits": "int32",
        "confidence": "float32",
    }
    expected = {name: np.zeros((3, BINS)) for name in counts}
    for i, row, column in zip(*np.nonzero(labels < CLASSES), strict=True):
        p = confidence[i, row, column]
        b = next(b for b in range(BINS) if p * np.float32(BINS) <= b + 1)
        expected["count"][i, b] += 1
        expected["hits"][i, b] += labels[i, row, column] == predictions[i, row, column]
        expected["confidence"][i, b] += p
    for name in ("count", "hits"):
        np.testing.assert_array_equal(counts[name], expected[name])
    np.testing.assert_allclose(counts["confidence"], expected["confidence"], rtol=1e-5)
    assert not counts["count"][:, :3].any()

    total = {name: values.sum(0) for name, values in expected.items()}
    shares = total["count"] / total["count"].sum()
    gaps = [
        abs(total["hits"][b] - total["confidence"][b]) / total["count"][b] if shares[b] else 0
        for b in range(BINS)
    ]
    figures = calibration.figures({name: values.sum(0) for name, values in counts.items()})
    error = figures.overall["expected_calibration_error"]
    assert error == pytest.approx(np.dot(shares, gaps), rel=1e-5)
    assert figures.curve["count"] == total["count"].tolist()


def test_nothing_labelled_has_no_error():
    nothing = np.zeros(BINS)
    assert math.isnan(calibration.expected_calibration_error(nothing, nothing, nothing))
