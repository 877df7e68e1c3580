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
      ema_batch_stats: that of `batch_stats`, likewise: those of the last weights alone are not what
        averaged weights make of the images.
    """

    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    step: jax.Array
    ema_params: dict | None = None
    ema_batch_stats: dict | None = None

    @property
    def eval_params(self) -> dict:
        """What is evaluated and handed on: the moving average where there is one."""
        return self.params if self.ema_params is None else self.ema_params

    @property
    def eval_batch_stats(self) -> dict:
        """The running statistics that go with `eval_params`."""
        return self.batch_stats if self.ema_batch_stats is None else self.ema_batch_stats


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
      ema: whether there is to be a moving average of parameters and running statistics.
    """
    params, batch_stats = put_equal(params, sharding), put_equal(batch_stats, sharding)
    opt_state = jax.jit(optimizer.init, out_shardings=sharding)(params)
    return TrainState(
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        step=put_equal(np.zeros((), np.int32), sharding),
        # A copy: a step reuses the memory of both.
        ema_params=jax.tree.map(jnp.copy, params) if ema else None,
        ema_batch_stats=jax.tree.map(jnp.copy, batch_stats) if ema else None,
    )
