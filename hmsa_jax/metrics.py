"""Confusion matrix and intersection over union."""

import jax
import jax.numpy as jnp
import numpy as np


def confusion_matrix(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    """Counts pixels by label and prediction.

    A product of one-hot matrices for each image: exact, since float32 counts whole numbers up to
    2^24 pixels, and summed over images as integers.

    Args:
      labels: `[B, H, W]` integers; a pixel whose label is not below `classes` is not counted.
      predictions: `[B, H, W]` integers.
      classes: number of classes.

    Returns:
      int32 `[classes, classes]`; row: label, column: prediction.
    """
    batch = labels.shape[0]
    label = jax.nn.one_hot(labels.reshape(batch, -1), classes)
    prediction = jax.nn.one_hot(predictions.reshape(batch, -1), classes)
    counts = jnp.einsum("bnl,bnp->blp", label, prediction)
    return counts.astype(jnp.int32).sum(0)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for one neither labelled nor predicted.

    Args:
      confusion: integer `[C, C]`; row: label, column: prediction.

    Returns:
      float64 `[C]`.
    """
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - hit
    return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def mean_iou(confusion: np.ndarray) -> float:
    """The mean of `class_iou` over the classes that occur; NaN if none does."""
    ious = class_iou(confusion)
    ious = ious[~np.isnan(ious)]
    return float(ious.mean()) if ious.size else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    """The share of labelled pixels that are predicted right; NaN if none is labelled."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")
