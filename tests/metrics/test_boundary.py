"""Boundaries on eight devices equal scipy's morphology and distances, class by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from hmsa_jax.distributed import sharding
from hmsa_jax.metrics import boundary
from hmsa_jax.metrics.metric import Prediction, Truth

CLASSES = 35  # more than fit into 32 bits
PRESENT = (0, 1, 2, 31, 32, 34)
CANVAS = (67, 93)
# Odd sizes, of one row or column, up to the canvas; a diagonal of 75 is 1.5 times 50.
SIZES = ((67, 93), (45, 60), (61, 1), (1, 83), (33, 70), (66, 20), (15, 20), (50, 93))


def patches(rng, classes):
    """Blobs of classes on the canvas."""
    coarse = rng.choice(classes, (8, 10)).astype(np.uint8)
    large = coarse.repeat(9, 0).repeat(10, 1)[: CANVAS[0], : CANVAS[1]]
    return np.where(rng.random(CANVAS) < 0.02, rng.choice(classes, CANVAS), large).astype(np.uint8)


@pytest.fixture(scope="module")
def batch():
    """Labels, some of them ignored, and predictions, which go on in the padding."""
    rng = np.random.default_rng(0)
    labels = np.full((len(SIZES), *CANVAS), 255, np.uint8)
    for label, (rows, columns) in zip(labels, SIZES, strict=True):
        # Class 31 is never labelled, class 34 never predicted.
        whole = patches(rng, (0, 0, 1, 2, 32, 34))
        whole[patches(rng, (0, 1, 2, 3, 4)) == 4] = 255
        whole[5:8, 20:25] = CLASSES  # no class either
        label[:rows, :columns] = whole[:rows, :columns]
    others = np.array([patches(rng, (0, 1, 2, 31, 32)) for _ in SIZES])
    kept = rng.random(labels.shape) < 0.97
    predictions = np.where((labels < 34) & kept, labels, others)
    return labels, np.roll(predictions, 1, 2), np.int32(SIZES)


@pytest.fixture(scope="module")
def counts(batch):
    @jax.jit
    def count(labels, predictions, size):
        confidence = jnp.zeros(labels.shape)
        return boundary.counter(Truth(labels, size, CLASSES))(Prediction(predictions, confidence))

    arrays = jax.device_put(batch, sharding.whole_images(sharding.make_mesh(4, 2)))
    return jax.device_get(count(*arrays))


def numpy_region(mask, distance):
    """The mask without what is left of it after the steps of an erosion."""
    square = np.ones((3, 3), bool)
    return mask & ~ndimage.binary_erosion(mask, square, iterations=distance, border_value=0)


def numpy_contour(mask, valid):
    """The pixels of a mask beside which a valid one is outside of it."""
    outside = np.pad(valid & ~mask, 1)
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    return mask & beside


def near(contour, other, tolerance):
    if not other.any():
        return 0
    return int((contour & (ndimage.distance_transform_edt(~other) <= tolerance)).sum())


def test_regions_and_contours_are_those_of_scipy(batch, counts):
    for value in counts.values():
        assert (value.dtype, value.shape) == (np.int32, (len(SIZES), CLASSES))
    for i, (rows, columns) in enumerate(SIZES):
        label, predicted = (array[i, :rows, :columns] for array in batch[:2])
        valid = label < CLASSES
        distance = max(1, round(0.02 * np.sqrt(rows**2 + columns**2)))  # as published
        for c in range(CLASSES):
            of_label, of_predicted = valid & (label == c), valid & (predicted == c)
            regions = [numpy_region(mask, distance) for mask in (of_label, of_predicted)]
            contours = [numpy_contour(mask, valid) for mask in (of_label, of_predicted)]
            expected = {
                "label_region": regions[0].sum(),
                "predicted_region": regions[1].sum(),
                "both_regions": (regions[0] & regions[1]).sum(),
                "label_contour": contours[0].sum(),
                "predicted_contour": contours[1].sum(),
                "label_contour_3px": near(*contours, 3),
                "label_contour_5px": near(*contours, 5),
                "predicted_contour_3px": near(*contours[::-1], 3),
                "predicted_contour_5px": near(*contours[::-1], 5),
            }
            assert {name: value[i, c] for name, value in counts.items()} == expected, (i, c)


def test_the_example_has_all_cases(counts):
    total = {name: value.sum(0) for name, value in counts.items()}
    assert 0 < total["label_contour_3px"][0] < total["label_contour_5px"][0]
    assert total["label_contour_5px"][0] < total["label_contour"][0]
    assert total["label_region"][34] > 0 == total["predicted_region"][34]
    assert total["predicted_region"][31] > 0 == total["label_region"][31]
    assert total["label_region"][5] == total["predicted_region"][5] == 0


def test_figures_follow_from_sums_over_images(counts):
    total = {name: value.sum(0, np.int64) for name, value in counts.items()}
    figures = boundary.figures(total)
    expected = [np.nan] * CLASSES
    for c in PRESENT:
        both = total["both_regions"][c]
        expected[c] = both / (total["label_region"][c] + total["predicted_region"][c] - both)
    np.testing.assert_allclose(figures.by_class["boundary_iou"], expected, rtol=1e-12)
    for tolerance in boundary.TOLERANCES:
        expected = [np.nan] * CLASSES
        for c in PRESENT:
            precise = total[f"predicted_contour_{tolerance}px"][c]
            recalled = total[f"label_contour_{tolerance}px"][c]
            expected[c] = 0.0
            if precise and recalled:
                precise /= total["predicted_contour"][c]
                recalled /= total["label_contour"][c]
                expected[c] = 2 * precise * recalled / (precise + recalled)
        name = f"boundary_f_score_{tolerance}px"
        np.testing.assert_allclose(figures.by_class[name], expected, rtol=1e-12)
        mean = np.nanmean(expected)
        assert figures.overall[f"mean_{name}"] == pytest.approx(mean, rel=1e-12)


def test_the_distance_is_rounded_as_in_the_published_code():
    rng = np.random.default_rng(0)
    sides = np.concatenate(
        [
            rng.integers(1, 46341, (20000, 2)),
            # Diagonals of 25, 75, 125 and so on: exactly between two distances.
            np.outer(np.arange(1, 1000, 2), [15, 20]),
            [(1024, 2048), (1, 1), (46340, 46340)],
        ]
    ).astype(np.int32)
    expected = [
        max(1, round(0.02 * np.sqrt(float(rows) ** 2 + float(columns) ** 2)))
        for rows, columns in sides
    ]
    got, longest = boundary.boundary_distance(sides, (46340, 46340))
    np.testing.assert_array_equal(got, expected)
    assert longest == max(expected)
