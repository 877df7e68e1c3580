"""What is chosen by platform is chosen, and the results stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.exported.one_platform import on_platform
from hmsa_jax.models.layers.convolution import convolve
from hmsa_jax.models.layers.materialization import materialize
from hmsa_jax.models.layers.resize import resize_bilinear

WIDE = jax.ShapeDtypeStruct((1, 6, 5, 2), np.float32)


def layers(x):
    """Each kind of choice and of function in a function that networks have."""
    y = convolve(x, jnp.ones((3, 3, 2, 4)), 1, 1)
    y = materialize({"y": resize_bilinear(jax.nn.relu(y), (12, 10))})["y"]
    views = jax.lax.map(lambda is_first: jnp.where(is_first, y, -y), jnp.array([True, False]))
    carry, sums = jax.lax.scan(
        lambda c, row: (c + row * y.mean(), c), jnp.zeros((10, 4)), views[1, 0], reverse=True
    )
    return {"y": jax.checkpoint(jnp.sin)(y), "sums": sums, "carry": carry}


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_the_results_are_those_of_the_function(platform):
    x = np.random.default_rng(0).normal(size=WIDE.shape).astype(np.float32)
    plain = on_platform(layers, platform, WIDE)
    operations = str(jax.make_jaxpr(plain)(WIDE))
    for absent in ("platform_index", "cond", "scan", "jit", "barrier", "custom", "checkpoint"):
        assert absent not in operations
    carry, sums, y = plain(x)
    expected = layers(x)
    np.testing.assert_allclose(y, expected["y"], atol=1e-5)
    np.testing.assert_allclose(sums, expected["sums"], atol=1e-4)
    np.testing.assert_allclose(carry, expected["carry"], atol=1e-4)


def test_what_depends_on_no_argument_is_computed_at_once():
    def function(x):
        return x + jnp.exp(jnp.arange(3.0)).sum()

    plain = on_platform(function, "cpu", jax.ShapeDtypeStruct((), np.float32))
    assert str(jax.make_jaxpr(plain)(1.0)).count("exp") == 0
    assert plain(np.float32(1))[0] == pytest.approx(1 + np.exp([0, 1, 2]).sum())
