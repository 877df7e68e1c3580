"""The numbers of a training that its step is given, not compiled with."""

import dataclasses

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from hmsa_jax.distributed.sharding import put_equal
from hmsa_jax.training.optimizer import poly_schedule


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """What may differ between trainings that share one program: sweeps compile once.

    Numbers of Python on the host, scalar arrays for a step.

    Attributes:
      seed: uint32, of dropout and augmentation, together with the step.
      learning_rate: float32, of the first step.
      poly_exponent: float32, of the schedule.
      steps: int32, after which the learning rate is 0.
      weight_decay: float32, of the optimizer.
    """

    seed: ArrayLike
    learning_rate: ArrayLike
    poly_exponent: ArrayLike
    steps: ArrayLike
    weight_decay: ArrayLike

    @property
    def schedule(self) -> optax.Schedule:
        """step -> learning rate."""
        return poly_schedule(self.learning_rate, self.poly_exponent, self.steps)

    def on(self, sharding: jax.sharding.Sharding) -> "Hyperparameters":
        """The same numbers as arrays on devices, in the types above: what a step is given."""
        arrays = Hyperparameters(
            seed=np.asarray(self.seed, np.uint32),
            learning_rate=np.asarray(self.learning_rate, np.float32),
            poly_exponent=np.asarray(self.poly_exponent, np.float32),
            steps=np.asarray(self.steps, np.int32),
            weight_decay=np.asarray(self.weight_decay, np.float32),
        )
        return put_equal(arrays, sharding)
