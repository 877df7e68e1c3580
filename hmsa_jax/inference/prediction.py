"""The class of each pixel, by one protocol."""

import jax

from hmsa_jax.distributed.sharding import whole_images
from hmsa_jax.inference.predictor import Predictor, most_probable
from hmsa_jax.inference.protocol import ProtocolOutput


def make_prediction_step(predictor: Predictor) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, {'image': ...}) -> (classes, finite)`.

    Args:
      predictor: the network and its protocol.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`. It returns the most probable class of each
      pixel, uint8 `[B, H, W]`, and whether all logits of an image are finite, bool `[B]`.
    """
    return predictor.step(most_probable_class, whole_images(predictor.mesh))


def most_probable_class(outputs: list[ProtocolOutput], batch: dict[str, jax.Array]) -> jax.Array:
    """The summary that is the most probable class of each pixel, uint8 `[B, H, W]`."""
    return most_probable(outputs[0].logits)[0]
