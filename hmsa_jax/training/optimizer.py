"""Stochastic gradient descent with the polynomial schedule (paper section 5.1)."""

import jax
import optax


def poly_schedule(learning_rate: float, exponent: float, steps: int) -> optax.Schedule:
    """learning_rate x (1 - step / steps) ^ exponent.

    >>> schedule = poly_schedule(0.01, 2.0, 100)
    >>> [round(float(schedule(step)), 6) for step in (0, 50, 100)]
    [0.01, 0.0025, 0.0]
    """
    return optax.polynomial_schedule(learning_rate, 0.0, exponent, steps)


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

    def is_matrix(params):
        return jax.tree.map(lambda x: x.ndim > 1, params)

    decay = optax.add_decayed_weights(weight_decay, mask=None if decay_vectors else is_matrix)
    descent = optax.chain(decay, optax.sgd(schedule, momentum=momentum))
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
