"""The optimizers, with the polynomial schedule (paper section 5.1)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from hmsa_jax.runtime.registry import Registry


def poly_schedule(
    learning_rate: ArrayLike, exponent: ArrayLike, steps: ArrayLike
) -> optax.Schedule:
    """learning_rate x (1 - step / steps) ^ exponent, of numbers or of arrays in a program.

    >>> schedule = poly_schedule(0.01, 2.0, 100)
    >>> [round(float(schedule(step)), 6) for step in (0, 50, 100)]
    [0.01, 0.0025, 0.0]
    """

    def at(step):
        return learning_rate * (1 - jnp.clip(step, 0, steps) / steps) ** exponent

    return at


def sgd(
    schedule: optax.Schedule,
    *,
    momentum: float,
    weight_decay: float,
    decay_vectors: bool = True,
    frozen: tuple[str, ...] = (),
) -> optax.GradientTransformation:
    """SGD with momentum; the decay of a parameter is part of its gradient, as in PyTorch.

    Args:
      schedule: step -> learning rate.
      momentum: share of the previous update in the next.
      weight_decay: share of a parameter that is added to its gradient.
      decay_vectors: whether biases and the scales of BatchNorm decay, too, as published.
      frozen: parts of the network, such as `trunk`, whose parameters stay as they are. The running
        statistics of their BatchNorm go on moving.

    Returns:
      A transformation of gradients of the network's parameters, a dict by part.
    """

    mask = None if decay_vectors else _is_matrix
    decay = optax.add_decayed_weights(weight_decay, mask=mask)
    return _but_for(frozen, optax.chain(decay, optax.sgd(schedule, momentum=momentum)))


def adamw(
    schedule: optax.Schedule,
    *,
    momentum: float,
    weight_decay: float,
    decay_vectors: bool = True,
    frozen: tuple[str, ...] = (),
) -> optax.GradientTransformation:
    """AdamW (Loshchilov, Hutter, 2019): the decay of a parameter is apart from its gradient.

    Args:
      schedule: step -> learning rate.
      momentum: share of the previous mean of the gradients in the next, their beta_1. That of the
        squares, beta_2, is 0.999.
      weight_decay: share of a parameter, times the learning rate, that a step takes away.
      decay_vectors: as for `sgd`.
      frozen: as for `sgd`.
    """
    mask = None if decay_vectors else _is_matrix
    descent = optax.adamw(schedule, b1=momentum, weight_decay=weight_decay, mask=mask)
    return _but_for(frozen, descent)


OPTIMIZERS: Registry[Callable[..., optax.GradientTransformation]] = Registry(
    "optimizer", {"sgd": sgd, "adamw": adamw}
)
"""The optimizers by name, each with the arguments of `sgd`."""


def _is_matrix(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)


def _but_for(
    frozen: tuple[str, ...], descent: optax.GradientTransformation
) -> optax.GradientTransformation:
    """The descent of all parts but those that are frozen."""
    if not frozen:
        return descent

    def trained_or_frozen(params):
        return {
            part: jax.tree.map(lambda _: "frozen" if part in frozen else "trained", tree)  # noqa: B023
            for part, tree in params.items()
        }

    return optax.multi_transform(
        {"trained": descent, "frozen": optax.set_to_zero()}, trained_or_frozen
    )
