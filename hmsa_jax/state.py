"""All that training changes."""

import dataclasses

import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds and a step maps to its successor.

    Attributes:
      params: nested dict, float32.
      batch_stats: nested dict of BatchNorm's running statistics, float32.
      opt_state: of the optimizer.
      step: int32 scalar, the number of steps done; it fixes batches and dropout of the next.
    """

    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    step: jax.Array


def initial_state(
    params: dict,
    batch_stats: dict,
    optimizer: optax.GradientTransformation,
    sharding: jax.sharding.Sharding,
) -> TrainState:
    """The state before the first step, laid out on the devices as `sharding` says."""
    params = jax.device_put(params, sharding)
    opt_state = jax.jit(optimizer.init, out_shardings=sharding)(params)
    return TrainState(
        params=params,
        batch_stats=jax.device_put(batch_stats, sharding),
        opt_state=opt_state,
        step=jax.device_put(jnp.zeros((), jnp.int32), sharding),
    )
