import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.metrics import confusion

# Two labelled classes of three, one pixel ignored; class 2 neither occurs nor is predicted.
LABELS = np.uint8([[[0, 0, 0, 1], [1, 1, 255, 0]]])
PREDICTIONS = np.int32([[[0, 0, 1, 1], [1, 0, 1, 0]]])
CONFUSION = np.int32([[3, 1, 0], [1, 2, 0], [0, 0, 0]])


def test_confusion_matrix_by_hand():
    got = confusion.confusion_matrix(LABELS, PREDICTIONS, 3)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, CONFUSION)


@pytest.fixture(params=["_by_additions", "_by_products"])
def count(request):
    """The confusion matrix of all images, in the form of a CPU and in that of accelerators."""
    form = jax.jit(getattr(confusion, request.param), static_argnums=2)
    return lambda *arguments: form(*arguments).sum(0)


def test_a_cpu_makes_no_one_hot_matrices():
    images = jax.ShapeDtypeStruct((2, 64, 96), jnp.uint8)
    traced = jax.jit(lambda x, y: confusion.confusion_matrices(x, y, 7)).trace(images, images)
    texts = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    assert {p: text.count("dot_general") for p, text in texts.items()} == {
        "cpu": 0,
        "cuda": 1,
        "tpu": 1,
    }


def test_confusion_matrix_counts_every_labelled_pixel(count):
    rng = np.random.default_rng(0)
    classes = 7
    labels = rng.choice([*range(classes), classes, 200, 255], (3, 61, 83)).astype(np.uint8)
    predictions = rng.integers(0, classes, labels.shape)
    valid = labels < classes
    pairs = labels[valid].astype(int) * classes + predictions[valid]
    expected = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    np.testing.assert_array_equal(
        count(jnp.asarray(labels), jnp.asarray(predictions), classes), expected
    )


def test_large_counts_are_exact(count):
    """Summed over images in float32, the last pixel would be lost."""
    labels = np.zeros((17, 1024, 1024), np.uint8)
    labels[0, 0, 0] = 255
    got = count(labels, np.zeros_like(labels), 1)
    assert got.item() == 17 * 2**20 - 1


def test_an_image_beyond_the_whole_numbers_of_float32_is_counted_exactly(count):
    """4201 x 4201 pixels, nearly all of them of one class: beyond 2^24."""
    labels = np.zeros((1, 4201, 4201), np.uint8)
    labels[0, :10] = 255
    labels[0, -1, -3:] = 1
    predictions = np.zeros_like(labels)
    predictions[0, -1, -1] = 1
    got = count(labels, predictions, 2)
    np.testing.assert_array_equal(got, [[4201 * 4191 - 3, 0], [2, 1]])


def test_intersection_over_union_by_hand():
    np.testing.assert_allclose(confusion.class_iou(CONFUSION), [3 / 5, 2 / 4, np.nan])
    assert confusion.mean_iou(CONFUSION) == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert confusion.pixel_accuracy(CONFUSION) == pytest.approx(5 / 7)


def test_class_that_is_only_predicted_counts_as_zero():
    matrix = np.int32([[2, 1], [0, 0]])
    np.testing.assert_allclose(confusion.class_iou(matrix), [2 / 3, 0])
    assert confusion.mean_iou(matrix) == pytest.approx(1 / 3)


def test_nothing_labelled_has_no_score():
    nothing = np.zeros((3, 3), np.int32)
    assert np.isnan(confusion.class_iou(nothing)).all()
    assert math.isnan(confusion.mean_iou(nothing))
    assert math.isnan(confusion.pixel_accuracy(nothing))


def test_scores_are_those_of_their_definitions():
    """Pixel by pixel, class by class, as sets."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 4000)
    predictions = np.where(rng.random(4000) < 0.6, labels, rng.integers(0, 5, 4000))
    predictions[predictions == 3] = 0  # never predicted
    matrix = np.zeros((6, 6), np.int64)  # class 5 does not occur
    np.add.at(matrix, (labels, predictions), 1)
    ious = []
    for c in range(5):
        label, predicted = set(np.flatnonzero(labels == c)), set(np.flatnonzero(predictions == c))
        hit = len(label & predicted)
        ious.append(hit / len(label | predicted))
        exact = hit / len(predicted) if predicted else np.nan
        np.testing.assert_allclose(confusion.precision(matrix)[c], exact, rtol=1e-12)
        np.testing.assert_allclose(confusion.recall(matrix)[c], hit / len(label), rtol=1e-12)
        dice = 2 * hit / (len(label) + len(predicted))
        np.testing.assert_allclose(confusion.f1(matrix)[c], dice, rtol=1e-12)
    np.testing.assert_allclose(confusion.class_iou(matrix)[:5], ious, rtol=1e-12)
    weighted = np.average(ious, weights=np.bincount(labels))
    np.testing.assert_allclose(confusion.frequency_weighted_iou(matrix), weighted, rtol=1e-12)
    for score in (confusion.precision, confusion.recall, confusion.f1):
        assert np.isnan(score(matrix)[5])
    empty = np.zeros((2, 2), int)
    assert math.isnan(confusion.frequency_weighted_iou(empty))
    assert math.isnan(confusion.mean(confusion.recall(empty)))
