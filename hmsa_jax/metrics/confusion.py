"""Confusion matrix, and the scores that follow from it."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from data.label_spec import IGNORE

_EXACT = 2**24  # whole numbers up to here are exact in float32


def confusion_matrices(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    """Counts the pixels of each image by label and prediction.

    On accelerators the counts are a product of one-hot matrices. It is computed in float32 for
    pieces of an image that are small enough to be counted exactly; their counts are summed as
    integers. On a CPU each pixel is added to its count.

    Args:
      labels: `[B, H, W]` integers; a pixel whose label is not below `classes` is not counted.
      predictions: `[B, H, W]` integers.
      classes: number of classes.

    Returns:
      int32 `[B, classes, classes]`; row: label, column: prediction.
    """
    return jax.lax.platform_dependent(
        labels,
        predictions,
        cpu=functools.partial(_by_additions, classes=classes),
        default=functools.partial(_by_products, classes=classes),
    )


def _by_additions(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    def count(labels: jax.Array, predictions: jax.Array) -> jax.Array:
        pairs = labels.astype(jnp.int32) * classes + predictions
        are_classes = [(values >= 0) & (values < classes) for values in (labels, predictions)]
        pairs = jnp.where(are_classes[0] & are_classes[1], pairs, classes**2)  # which is no count
        counts = jnp.zeros(classes**2, jnp.int32)
        return counts.at[pairs.ravel()].add(1, mode="drop").reshape(classes, classes)

    return jax.vmap(count)(labels, predictions)


def _by_products(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    batch, *size = labels.shape
    pixels = math.prod(size)
    pieces = -(-pixels // _EXACT)
    padding = -pixels % pieces

    def one_hot(values: jax.Array, of_padding: int) -> jax.Array:
        values = values.reshape(batch, pixels)
        values = jnp.pad(values, ((0, 0), (0, padding)), constant_values=of_padding)
        return jax.nn.one_hot(values.reshape(batch, pieces, -1), classes)

    counts = jnp.einsum("bknl,bknp->bklp", one_hot(labels, IGNORE), one_hot(predictions, 0))
    return counts.astype(jnp.int32).sum(1)


def confusion_matrix(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    """`confusion_matrices` of all images together, of up to 2^31 - 1 pixels.

    Returns:
      int32 `[classes, classes]`; row: label, column: prediction.

    >>> labels = jnp.array([[[0, 1, 1, 255]]])
    >>> predictions = jnp.array([[[0, 0, 1, 1]]])
    >>> confusion_matrix(labels, predictions, 2).tolist()
    [[1, 0], [1, 1]]
    """
    return confusion_matrices(labels, predictions, classes).sum(0)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for one neither labelled nor predicted.

    Args:
      confusion: integer `[C, C]`; row: label, column: prediction.

    Returns:
      float64 `[C]`.

    >>> class_iou(np.array([[3, 0, 0], [1, 4, 0], [0, 0, 0]])).tolist()
    [0.75, 0.8, nan]
    """
    hit = np.diag(confusion)
    return fraction(hit, confusion.sum(0) + confusion.sum(1) - hit)


def precision(confusion: np.ndarray) -> np.ndarray:
    """Of the pixels predicted as a class, the fraction that are; NaN for one never predicted.

    Args:
      confusion: integer `[C, C]`; row: label, column: prediction.

    Returns:
      float64 `[C]`.

    >>> precision(np.array([[3, 1, 0], [1, 4, 0], [0, 0, 0]])).tolist()
    [0.75, 0.8, nan]
    """
    return fraction(np.diag(confusion), confusion.sum(0))


def recall(confusion: np.ndarray) -> np.ndarray:
    """Of the pixels of a class, the fraction that are predicted; NaN for one never labelled.

    Arguments and result as for `precision`.

    >>> recall(np.array([[3, 0], [1, 4]])).tolist()
    [1.0, 0.8]
    """
    return fraction(np.diag(confusion), confusion.sum(1))


def f1(confusion: np.ndarray) -> np.ndarray:
    """The harmonic mean of precision and recall; NaN for a class neither labelled nor predicted.

    Arguments and result as for `precision`.

    >>> f1(np.array([[3, 0], [2, 5]])).tolist()
    [0.75, 0.8333333333333334]
    """
    return fraction(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def frequency_weighted_iou(confusion: np.ndarray) -> float:
    """The mean of `class_iou`, each class weighted by its labelled pixels; NaN if there are none.

    >>> frequency_weighted_iou(np.array([[3, 0], [1, 4]]))
    0.78125
    """
    labelled = confusion.sum(1)
    if not labelled.sum():
        return float("nan")
    occurs = labelled > 0
    return float((class_iou(confusion)[occurs] * labelled[occurs]).sum() / labelled.sum())


def mean(values: np.ndarray) -> float:
    """The mean of a score over the classes that have it; NaN if none does.

    >>> mean(np.array([0.5, np.nan, 1.0]))
    0.75
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def mean_iou(confusion: np.ndarray) -> float:
    """The mean of `class_iou` over the classes that occur; NaN if none does.

    >>> round(mean_iou(np.array([[3, 0, 0], [1, 4, 0], [0, 0, 0]])), 3)
    0.775
    """
    return mean(class_iou(confusion))


def pixel_accuracy(confusion: np.ndarray) -> float:
    """The fraction of labelled pixels that are predicted right; NaN if none is labelled.

    >>> pixel_accuracy(np.array([[3, 0], [1, 4]]))
    0.875
    """
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def fraction(part: np.ndarray, of: np.ndarray) -> np.ndarray:
    """A part of a whole, number by number, float64; NaN where the whole is 0.

    >>> fraction(np.array([1, 0]), np.array([4, 0])).tolist()
    [0.25, nan]
    """
    unknown = np.full(np.shape(part), np.nan)
    return np.divide(part, of, out=unknown, where=np.asarray(of) > 0)
