"""Cross-entropy over labelled pixels."""

import jax
import jax.numpy as jnp


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean of -log softmax(logits)[label] over all labelled pixels of the (global) batch.

    Args:
      logits: `[B, H, W, C]` float32.
      labels: `[B, H, W]` integers; a pixel whose label is not below C is ignored.

    Returns:
      A float32 scalar; 0 if no pixel is labelled.
    """
    classes = logits.shape[-1]
    labels = labels.astype(jnp.int32)
    valid = labels < classes
    target = jax.nn.one_hot(labels, classes, dtype=logits.dtype)
    per_pixel = jax.nn.logsumexp(logits, axis=-1) - (logits * target).sum(-1)
    total = jnp.where(valid, per_pixel, 0).sum()
    return total / jnp.maximum(valid.sum(), 1).astype(logits.dtype)
