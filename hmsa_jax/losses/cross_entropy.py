"""Cross-entropies over labelled pixels: of all classes together, of images, of each class."""

import jax
import jax.numpy as jnp


def cross_entropy(
    logits: jax.Array, labels: jax.Array, class_weights: tuple[float, ...] = ()
) -> jax.Array:
    """The mean of -log softmax(logits)[label] over all labelled pixels of the (global) batch.

    Args:
      logits: `[B, H, W, C]` float32.
      labels: `[B, H, W]` integers; a pixel whose label is not below C is ignored.
      class_weights: how much a pixel of each of the C classes counts in the mean; () for all the
        same.

    Returns:
      A float32 scalar; 0 if no pixel is labelled.

    Equal logits of two classes cost log 2 at the labelled pixel; the other one is ignored:

    >>> loss = cross_entropy(jnp.zeros((1, 1, 2, 2)), jnp.array([[[1, 255]]], jnp.uint8))
    >>> f"{loss:.4f}"
    '0.6931'
    """
    classes = logits.shape[-1]
    labels = labels.astype(jnp.int32)
    valid = labels < classes
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    per_pixel = jax.nn.logsumexp(logits, axis=-1) - (logits * target).sum(-1)
    if class_weights:
        weight = (target * jnp.asarray(class_weights, logits.dtype)).sum(-1)  # 0 if not labelled
        summed = weight.sum()
        return (weight * per_pixel).sum() / jnp.where(summed > 0, summed, 1)
    total = jnp.where(valid, per_pixel, 0).sum()
    return total / jnp.maximum(valid.sum(), 1).astype(logits.dtype)


def image_weighted_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, bound: float = 1.0
) -> jax.Array:
    """Each image's class-weighted mean of -log softmax(logits)[label], summed over images.

    A class with n of the N labelled pixels of the (global) batch weighs 1 + bound x (1 - n / N),
    and 1 if it has none. As in the published code the histogram is that of the batch. Unlike
    there a pixel of label C is ignored, not counted as one of the last class, and an image without
    labelled pixels adds 0, not NaN.

    Args:
      logits: `[B, H, W, C]` float32.
      labels: `[B, H, W]` integers; a pixel whose label is not below C is ignored.
      bound: how much more than 1 the rarest class may weigh.

    Returns:
      A scalar of the logits' type; it grows with the number of images.
    """
    classes = logits.shape[-1]
    labels = labels.astype(jnp.int32)
    target = labels[..., None] == jnp.arange(classes)
    weights = _class_weights(target.sum((0, 1, 2)), bound).astype(logits.dtype)
    weight = jnp.where(target, weights, 0).sum(-1)  # 0 where the label is no class
    per_pixel = jax.nn.logsumexp(logits, axis=-1) - jnp.where(target, logits, 0).sum(-1)
    total = jnp.where(weight > 0, weight * per_pixel, 0).sum((1, 2))
    # Every class weighs at least 1, so that only an image without labelled pixels is below it.
    return (total / jnp.maximum(weight.sum((1, 2)), 1)).sum()


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Each class against all others: -log sigmoid(x) of a pixel's own, -log(1 - sigmoid(x)) else.

    Summed over classes and the labelled pixels of the (global) batch, divided by their number
    plus 1: a part of the main loss in Tao et al. 2020, and the published code's auxiliary loss.

    Args:
      logits: `[B, H, W, C]` float32.
      labels: `[B, H, W]` integers; a pixel whose label is not below C is ignored.

    Returns:
      A scalar of the logits' type; 0 if no pixel is labelled.
    """
    classes = logits.shape[-1]
    labels = labels.astype(jnp.int32)
    valid = labels < classes
    target = labels[..., None] == jnp.arange(classes)
    # -log sigmoid(x) = softplus(-x), -log(1 - sigmoid(x)) = softplus(x): finite for any x.
    per_pixel = jax.nn.softplus(jnp.where(target, -logits, logits)).sum(-1)
    total = jnp.where(valid, per_pixel, 0).sum()
    return total / (valid.sum() + 1).astype(logits.dtype)


def _class_weights(counts: jax.Array, bound: float) -> jax.Array:
    """(n_c != 0) x bound x (1 - n_c / N) + 1, from the labelled pixels n_c `[C]` of each class."""
    return (counts > 0) * bound * (1 - counts / jnp.maximum(counts.sum(), 1)) + 1
