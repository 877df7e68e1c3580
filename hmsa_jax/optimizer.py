"""Stochastic gradient descent with the polynomial schedule (paper section 5.1)."""

import optax


def poly_schedule(learning_rate: float, exponent: float, steps: int) -> optax.Schedule:
    """learning_rate x (1 - step / steps) ^ exponent."""
    return optax.polynomial_schedule(learning_rate, 0.0, exponent, steps)


def sgd(
    schedule: optax.Schedule, *, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """SGD with momentum; the decay of every parameter is part of its gradient, as in PyTorch."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(schedule, momentum=momentum)
    )
