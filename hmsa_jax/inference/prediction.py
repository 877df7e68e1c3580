"""The class of each pixel, by one protocol."""

import jax

from hmsa_jax.distributed.sharding import whole_images
from hmsa_jax.inference.predictor import Predictor, most_probable


def make_prediction_step(predictor: Predictor) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, {'image': ...}) -> (classes, finite)`.

    Args:
      predictor: the network and its protocol.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`. It returns the most probable class of each
      pixel, uint8 `[B, H, W]`, and whether all logits of an image are finite, bool `[B]`.
    """
    images = whole_images(predictor.mesh)
    return predictor.step(lambda outputs, _: most_probable(outputs[0].logits)[0], images)
