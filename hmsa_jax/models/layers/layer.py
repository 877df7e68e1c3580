"""What all layers of a network are built with."""

import dataclasses

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Layer:
    """Whoever builds layers passes it on to each of them, in the order of the network.

    Attributes:
      dtype: dtype to compute in.
      rng: generator that the kernels are drawn from, one layer after the other.
    """

    dtype: jnp.dtype
    rng: np.random.Generator
