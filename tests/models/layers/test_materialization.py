"""Borders of fusion: nothing but memory changes, and the compiler does not see through them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers.materialization import materialize

ARRAYS = [np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 2, 2, 3), np.ones(4, np.float32)]


def test_values_and_gradients_are_those_without():
    def loss(xs):
        return sum((jnp.sin(x) * weight).sum() for x, weight in zip(xs, (2, 3), strict=True))

    values = jax.jit(materialize)(ARRAYS)
    gradients = jax.jit(jax.grad(lambda xs: loss(materialize(xs))))(ARRAYS)
    for value, gradient, x, weight in zip(values, gradients, ARRAYS, (2, 3), strict=True):
        np.testing.assert_array_equal(value, x)
        np.testing.assert_allclose(gradient, weight * np.cos(x), rtol=1e-6)


def test_no_dtype_changes():
    for dtype in ("bfloat16", "float32"):
        assert jax.jit(materialize)(jnp.ones((2, 3), dtype)).dtype == dtype


@pytest.mark.parametrize("border", [True, False])
def test_cpu_computes_a_sum_once_for_all_that_read_it(border):
    """Each of two sorts needs its own copy; the sine before them is computed once or twice."""

    def run(x):
        y = jnp.sin(x)
        y = materialize(y) if border else y
        return jnp.sort(y.T, axis=0), jnp.sort(y[::-1], axis=0)

    text = jax.jit(run).lower(jnp.ones((64, 64))).compile().as_text()
    sines = len(re.findall(r" sine\(", text))
    assert sines == (1 if border else 2)


def test_backward_pass_has_a_border_too():
    def loss(x):
        return jnp.sin(materialize(jnp.cos(x))).sum()

    def conditionals(function):
        text = jax.jit(function).lower(jnp.ones((8, 8))).compile().as_text()
        return len(re.findall(r" conditional\(", text))

    assert conditionals(loss) == 1
    assert conditionals(jax.grad(loss)) == 2


def test_other_platforms_have_none():
    for platform, expected in (("cpu", True), ("tpu", False), ("cuda", False)):
        lowered = jax.jit(materialize).trace(jnp.ones(3)).lower(lowering_platforms=(platform,))
        assert ("optimization_barrier" in lowered.as_text()) == expected
