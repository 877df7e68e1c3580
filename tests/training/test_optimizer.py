import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hmsa_jax.training import optimizer

RATES = (0.1, 0.05)
PARAMS = {
    "trunk": {"kernel": np.float32([[1.0, -2.0]]), "bias": np.float32([0.5])},
    "head": {"kernel": np.float32([[3.0, 0.1]]), "bias": np.float32([-4.0])},
}


def test_poly_schedule_ends_at_zero():
    schedule = optimizer.poly_schedule(0.01, 2.0, 100)
    for step in (0, 1, 50, 99, 100):
        np.testing.assert_allclose(schedule(step), 0.01 * (1 - step / 100) ** 2, atol=1e-9)


def descend(name="sgd", **fields):
    """The parameters after two steps, and the gradients of each."""
    descent = optimizer.OPTIMIZERS.get(name)(
        lambda step: jnp.array(RATES)[step], momentum=0.9, weight_decay=0.01, **fields
    )
    rng = np.random.default_rng(0)
    params, opt_state, all_gradients = PARAMS, descent.init(PARAMS), []
    for _ in RATES:
        gradients = jax.tree.map(lambda x: rng.standard_normal(x.shape, np.float32), PARAMS)
        updates, opt_state = descent.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        all_gradients.append(gradients)
    return params, all_gradients


def by_pytorchs_rule(weight, gradients, decay):
    """buffer = momentum x buffer + gradient + decay x weight; weight -= rate x buffer."""
    buffer = np.zeros_like(weight)
    for rate, gradient in zip(RATES, gradients, strict=True):
        buffer = 0.9 * buffer + gradient + decay * weight
        weight = weight - rate * buffer
    return weight


def by_the_rule_of_adamw(weight, gradients, decay):
    """Algorithm 2 of Loshchilov and Hutter (2019), with the schedule in place of alpha and eta."""
    first = second = np.zeros_like(weight, np.float64)
    for step, (rate, gradient) in enumerate(zip(RATES, gradients, strict=True), 1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * np.float64(gradient) ** 2
        update = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weight = weight - rate * (update + decay * weight)
    return weight


@pytest.mark.parametrize("decay_vectors", [True, False])
@pytest.mark.parametrize("frozen", [(), ("trunk",)])
@pytest.mark.parametrize(
    ("name", "rule", "rtol"),
    [
        ("sgd", by_pytorchs_rule, 1e-6),
        ("adamw", by_the_rule_of_adamw, 1e-5),  # 1 - 0.999^2 has two digits less in float32
    ],
)
def test_optimizers_follow_their_rules(name, rule, rtol, decay_vectors, frozen):
    params, gradients = descend(name, decay_vectors=decay_vectors, frozen=frozen)
    for part, tree in PARAMS.items():
        for name, weight in tree.items():
            decay = 0.01 if decay_vectors or name == "kernel" else 0
            expected = rule(weight, [g[part][name] for g in gradients], decay)
            if part in frozen:
                expected = weight
            np.testing.assert_allclose(params[part][name], expected, rtol=rtol)


def test_frozen_parameters_have_no_momentum():
    sgd = optimizer.sgd(optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.01)
    half = optimizer.sgd(
        optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.01, frozen=("trunk",)
    )
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(o.init(PARAMS)) if leaf.ndim) for o in (sgd, half)
    ]
    assert sizes == [6, 3]
