"""How the parameters are drawn that no other weights replace."""

import numpy as np
from flax import nnx

from hmsa_jax.models.layers.conv import Conv

INITIALIZATIONS = ("he", "published")


def draw_as_published(network: nnx.Module, rng: np.random.Generator) -> None:
    """Draws decoder and heads anew, as PyTorch does by default: so the published code has them.

    Kernels and biases are uniform in +-1 / sqrt(fan_in): 2.4 times smaller than those of He et al.,
    from which they start else, with biases that are not 0. The trunk stays as it is: there it is
    drawn from N(0, 0.001^2), but always replaced by weights of ImageNet.

    Args:
      network: a `MultiscaleNetwork`; changed in place.
      rng: generator that kernels and biases are drawn from.
    """
    layers = ((path, layer) for path, layer in network.iter_modules() if isinstance(layer, Conv))
    for path, layer in sorted(layers, key=lambda item: tuple(map(str, item[0]))):
        if path[0] == "trunk":
            continue
        shape = layer.kernel.get_value().shape
        bound = np.prod(shape[:3]) ** -0.5
        layer.kernel.set_value(_uniform(rng, bound, shape))
        if layer.bias is not None:
            layer.bias.set_value(_uniform(rng, bound, shape[3:]))


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-bound, bound, shape).astype(np.float32)
