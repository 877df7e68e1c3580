import jax.numpy as jnp
import numpy as np
import optax

from hmsa_jax import optimizer


def test_poly_schedule_ends_at_zero():
    schedule = optimizer.poly_schedule(0.01, 2.0, 100)
    for step in (0, 1, 50, 99, 100):
        np.testing.assert_allclose(schedule(step), 0.01 * (1 - step / 100) ** 2, atol=1e-9)


def test_sgd_follows_pytorchs_rule():
    """buffer = momentum x buffer + gradient + decay x weight; weight -= rate x buffer."""
    rates = [0.1, 0.05]
    sgd = optimizer.sgd(lambda step: jnp.array(rates)[step], momentum=0.9, weight_decay=0.01)
    weight, gradients = np.array([1.0, -2.0], np.float32), np.float32([[0.5, 1.0], [-1.0, 3.0]])
    ours, expected, buffer = {"w": jnp.array(weight)}, weight.copy(), np.zeros(2, np.float32)
    opt_state = sgd.init(ours)
    for rate, gradient in zip(rates, gradients, strict=True):
        updates, opt_state = sgd.update({"w": jnp.array(gradient)}, opt_state, ours)
        ours = optax.apply_updates(ours, updates)
        buffer = 0.9 * buffer + gradient + 0.01 * expected
        expected = expected - rate * buffer
        np.testing.assert_allclose(ours["w"], expected, rtol=1e-6)
