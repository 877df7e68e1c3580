"""The class of each pixel, by one protocol."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol


def make_prediction_step(
    graphdef: nnx.GraphDef, protocol: Protocol, *, fusion_resolution: str, flip: bool
) -> Callable[[dict, dict, jax.Array], tuple[jax.Array, jax.Array]]:
    """Compiles to `(params, batch_stats, images) -> (classes, finite)`, once for each shape.

    Args:
      graphdef: the network.
      protocol: how to predict.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: as for `protocol.predict_all`.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`. It returns the most probable class of each
      pixel, uint8 `[B, H, W]`, and whether all logits of an image are finite, bool `[B]`.
    """

    predict = functools.partial(
        protocol_lib.predict_all, (protocol,), graphdef, resolution=fusion_resolution, flip=flip
    )

    @jax.jit
    def prediction_step(params, batch_stats, images):
        (logits,) = predict(params, batch_stats, images)
        return logits.argmax(-1).astype(jnp.uint8), protocol_lib.is_finite(logits)

    return prediction_step
