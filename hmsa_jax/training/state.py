"""All that training changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hmsa_jax.distributed.sharding import put_equal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds and a step maps to its successor.

    Attributes:
      params: nested dict, float32.
      batch_stats: nested dict of BatchNorm's running statistics, float32.
      opt_state: of the optimizer.
      step: int32 scalar, the number of steps done; it fixes batches and dropout of the next.
      ema_params: exponential moving average of `params`, or None without one.
    """

    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    step: jax.Array
    ema_params: dict | None = None

    @property
    def eval_params(self) -> dict:
        """What is evaluated and handed on: the moving average where there is one."""
        return self.params if self.ema_params is None else self.ema_params


def initial_state(
    params: dict,
    batch_stats: dict,
    optimizer: optax.GradientTransformation,
    sharding: jax.sharding.Sharding,
    *,
    ema: bool = False,
) -> TrainState:
    """The state before the first step, laid out on the devices as `sharding` says.

    Args:
      params: of the network.
      batch_stats: of the network.
      optimizer: its state is made here.
      sharding: of every array.
      ema: whether there is to be a moving average of the parameters.
    """
    params = put_equal(params, sharding)
    opt_state = jax.jit(optimizer.init, out_shardings=sharding)(params)
    return TrainState(
        params=params,
        batch_stats=put_equal(batch_stats, sharding),
        opt_state=opt_state,
        step=put_equal(np.zeros((), np.int32), sharding),
        # A copy: a step reuses the memory of both.
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    )
