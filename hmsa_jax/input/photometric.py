"""What happens to the colours of an image, inside the jitted step."""

import jax
import jax.numpy as jnp
import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, red, green, blue
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def normalize(images: jax.Array) -> jax.Array:
    """Maps uint8 RGB `[..., 3]` to float32 of about zero mean and unit variance."""
    return (images.astype(jnp.float32) / 255 - MEAN) / DEVIATION
