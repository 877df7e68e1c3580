"""Binary cross-entropy: each class by itself against all others."""

import jax
import jax.numpy as jnp


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log sigmoid(x) of a pixel's own class and -log(1 - sigmoid(x)) of all others.

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
