"""One training step, the same program on every mesh."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import Mesh

from hmsa_jax.distributed.sharding import (
    accumulated_image_rows,
    replicated,
    training_batch,
)
from hmsa_jax.input.photometric import Photometric, normalize
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.training.state import TrainState

_AS_THEY_ARE = Photometric()
_AUGMENT = 2**31  # folded into a key; the dropout's are folded with small numbers


def make_train_step(
    graphdef: nnx.GraphDef,
    make_optimizer: Callable[..., optax.GradientTransformation],
    mesh: Mesh,
    *,
    scales: tuple[float, ...],
    objective: Objective,
    augment: Callable[[jax.Array, jax.Array], jax.Array] = _AS_THEY_ARE,
    frozen: tuple[str, ...] = (),
    accumulate: int = 1,
    ema_decay: float = 0.0,
) -> jax.stages.Wrapped:
    """Compiles to `(state, hyperparameters, batch) -> (state, metrics)`.

    The given state's memory is reused.

    Loss, gradients and, unless the network has groups of its own, BatchNorm statistics are those of
    the global batch: the reductions come from the shardings.

    Args:
      graphdef: the network, from `multiscale.initialize`.
      make_optimizer: one of `optimizer.OPTIMIZERS`, with all its arguments but the schedule and
        `weight_decay`.
      mesh: from `sharding.make_mesh`.
      scales: scales to train with, 1.0 among them; the paper's pair is (0.5, 1.0).
      objective: what the steps minimise.
      augment: `(key, images) -> images`, what happens to the colours of a batch of uint8 images
        before they are normalised; as it stands, nothing.
      frozen: parts of the network that have no gradient, as for the optimizer.
      accumulate: parts of the batch that are done one after the other, each with BatchNorm
        statistics of its own; gradient and metrics are the means over the parts.
      ema_decay: of the moving average of the parameters, if the state has one.

    Returns:
      A jitted function. `Hyperparameters` are the second argument, on the devices. The batch holds
      uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`; the metrics are float32 scalars: `loss`,
      its terms, and `grad_norm`.
    """

    def loss_fn(params, batch_stats, batch, dropout_key):
        params = {
            part: jax.lax.stop_gradient(tree) if part in frozen else tree
            for part, tree in params.items()
        }
        with jax.named_scope("input"):
            images = augment(jax.random.fold_in(dropout_key, _AUGMENT), batch["image"])
            images = normalize(images)
        outputs, batch_stats = multiscale.apply(
            graphdef,
            params,
            batch_stats,
            images,
            scales,
            train=True,
            dropout_key=dropout_key,
            shares=(mesh.shape["data"], mesh.shape["spatial"]),
        )
        with jax.named_scope("losses"):
            loss, terms = objective(outputs, batch["label"])
        return loss, (terms, batch_stats)

    def differentiate(state, batch, dropout_key):
        """Loss, terms, gradients and running statistics of a whole batch, or of a part."""
        (loss, (terms, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.batch_stats, batch, dropout_key
        )
        return loss, terms, grads, batch_stats

    def differentiate_in_parts(state, batch, dropout_key):
        """The same, part by part: means of loss, terms and gradients, the last statistics."""

        def add_part(carry, part):
            sums, batch_stats = carry
            images, i = part
            current = dataclasses.replace(state, batch_stats=batch_stats)
            *values, batch_stats = differentiate(
                current, images, jax.random.fold_in(dropout_key, i)
            )
            return (jax.tree.map(jnp.add, sums, values), batch_stats), None

        parts = {name: _parts(x, accumulate, mesh) for name, x in batch.items()}
        first = jax.tree.map(lambda x: x[0], parts)
        *shapes, _ = jax.eval_shape(differentiate, state, first, dropout_key)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        (sums, batch_stats), _ = jax.lax.scan(
            add_part, (zeros, state.batch_stats), (parts, jnp.arange(accumulate))
        )
        return *jax.tree.map(lambda x: x / accumulate, sums), batch_stats

    def train_step(state, hyperparameters, batch):
        dropout_key = jax.random.fold_in(jax.random.key(hyperparameters.seed), state.step)
        if accumulate == 1:
            loss, terms, grads, batch_stats = differentiate(state, batch, dropout_key)
        else:
            loss, terms, grads, batch_stats = differentiate_in_parts(state, batch, dropout_key)
        with jax.named_scope("optimizer"):
            optimizer = make_optimizer(
                hyperparameters.schedule, weight_decay=hyperparameters.weight_decay
            )
            grads = jax.tree.map(laid_out_as_parameter, grads)
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            norm = optax.global_norm(grads)
            ema_params = _moved(state.ema_params, params, ema_decay)
            ema_batch_stats = _moved(state.ema_batch_stats, batch_stats, ema_decay)
        successor = TrainState(
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            step=state.step + jnp.int32(1),
            ema_params=ema_params,
            ema_batch_stats=ema_batch_stats,
        )
        return successor, {"loss": loss, **terms, "grad_norm": norm}

    return jax.jit(
        train_step,
        in_shardings=(replicated(mesh), replicated(mesh), training_batch(mesh)),
        out_shardings=(replicated(mesh), replicated(mesh)),
        donate_argnums=0,
    )


def laid_out_as_parameter(gradient: jax.Array) -> jax.Array:
    """The gradient in the layout of arguments, the axes in their order.

    What a convolution makes its gradient in would else spread to parameter and momentum, which a
    step would copy there and back (docs/results/tpu_speed.md).
    """
    return with_layout_constraint(gradient, Layout(tuple(range(gradient.ndim))))


def _parts(x: jax.Array, count: int, mesh: Mesh) -> jax.Array:
    """`[B, ...]` as `[count, B / count, ...]`; taking every count-th, no image changes device."""
    x = x.reshape(x.shape[0] // count, count, *x.shape[1:]).swapaxes(0, 1)
    return jax.lax.with_sharding_constraint(x, accumulated_image_rows(mesh))


def _moved(average: dict | None, values: dict, decay: float) -> dict | None:
    if average is None:
        return None
    return jax.tree.map(lambda a, x: decay * a + (1 - decay) * x, average, values)
