"""How far a result is from its reference, kept for the report of the tests."""

import numpy as np


def relative_error(got, expected) -> float:
    """The largest difference, relative to the largest magnitude of the reference."""
    difference = np.asarray(got, np.float64) - np.asarray(expected, np.float64)
    return float(np.abs(difference).max() / np.abs(expected).max())


def check(record_property, got, expected, tolerance: float) -> None:
    """Records the error and its tolerance, then asserts."""
    assert np.shape(got) == np.shape(expected)
    error = relative_error(got, expected)
    record_property("error", error)
    record_property("tolerance", tolerance)
    assert error <= tolerance
