"""One training step, the same program on every mesh."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from hmsa_jax.input.photometric import normalize
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.sharding import batch_shardings, replicated
from hmsa_jax.state import TrainState


def make_train_step(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    scales: tuple[float, ...],
    objective: Objective,
    seed: int,
) -> Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]:
    """Compiles to `(state, batch) -> (state, metrics)`; the given state's memory is reused.

    BatchNorm statistics, loss and gradients are those of the global batch: the reductions come
    from the shardings.

    Args:
      graphdef: the network, from `multiscale.initialize`.
      optimizer: from `optimizer.sgd`.
      mesh: from `sharding.make_mesh`.
      scales: scales to train with, 1.0 among them; the paper's pair is (0.5, 1.0).
      objective: what the steps minimise.
      seed: of the dropout, together with the step.

    Returns:
      A jitted function. The batch holds uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`; the
      metrics are float32 scalars: `loss`, its terms, and `grad_norm`.
    """

    def loss_fn(params, batch_stats, batch, dropout_key):
        outputs, batch_stats = multiscale.apply(
            graphdef,
            params,
            batch_stats,
            normalize(batch["image"]),
            scales,
            train=True,
            dropout_key=dropout_key,
        )
        loss, terms = objective(outputs, batch["label"])
        return loss, (terms, batch_stats)

    def train_step(state, batch):
        dropout_key = jax.random.fold_in(jax.random.key(seed), state.step)
        (loss, (terms, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.batch_stats, batch, dropout_key
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        successor = TrainState(
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            step=state.step + jnp.int32(1),
        )
        return successor, {"loss": loss, **terms, "grad_norm": optax.global_norm(grads)}

    return jax.jit(
        train_step,
        in_shardings=(replicated(mesh), batch_shardings(mesh)),
        out_shardings=(replicated(mesh), replicated(mesh)),
        donate_argnums=0,
    )
