"""What is kept of a predicted image, computed on the device."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hmsa_jax.inference.predictor import most_probable, to_byte
from hmsa_jax.inference.protocol import ProtocolOutput

Array = Any  # of JAX on the device, of numpy when it is fetched


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OfScale:
    """What a scale says of an image.

    Attributes:
      classes: the most probable class, uint8 `[H, W]`.
      share: 255 times its share in the fused logits, rounded, uint8 `[H, W]`; None where the method
        gives none.
    """

    classes: Array
    share: Array | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ImagePrediction:
    """What the network says of an image.

    Attributes:
      classes: the most probable class, uint8 `[H, W]`.
      probability: 255 times its probability, rounded, uint8 `[H, W]`.
      scales: by scale, if that is asked for; else empty.
    """

    classes: Array
    probability: Array
    scales: dict[float, OfScale]


def summarize(outputs: Sequence[ProtocolOutput], batch: dict[str, jax.Array]) -> ImagePrediction:
    """What leaves the device of a batch: 8 bits a pixel and array, and no logits."""
    (output,) = outputs
    classes, probability = most_probable(output.logits)
    scales = {}
    if output.scales is not None:
        weights = output.scales.weights
        scales = {
            scale: OfScale(
                logits.argmax(-1).astype(jnp.uint8),
                None if weights is None else to_byte(jnp.clip(weights[scale][..., 0], 0, 1)),
            )
            for scale, logits in output.scales.logits.items()
        }
    return ImagePrediction(classes, to_byte(probability), scales)
