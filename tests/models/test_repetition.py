"""Equal modules as a loop: other programs, the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hmsa_jax.models import repetition
from hmsa_jax.models.layers import ConvBN
from hmsa_jax.models.remat import with_policy
from hmsa_jax.models.repetition import run_in_turn

MODULES, CHANNELS = 3, 5


def run(loop, remat="none", train=True):
    """Result, its gradients and running statistics of modules one after the other."""
    rng = np.random.default_rng(0)
    modules = nnx.List(
        ConvBN(CHANNELS, CHANNELS, kernel=3, dtype=jnp.float64, rng=rng) for _ in range(MODULES)
    )
    graphdef, *values = nnx.split(modules, nnx.Param, nnx.BatchStat)
    params, statistics = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), values)
    x = rng.standard_normal((2, 6, 8, CHANNELS))

    def forward(params, x):
        modules = nnx.merge(graphdef, params, statistics, copy=True)
        call = with_policy(lambda module, xs: [module(xs[0], train=train)], remat)
        (y,) = run_in_turn(modules, [x], call, loop=loop)
        return (y**2).sum(), (y, nnx.to_pure_dict(nnx.state(modules, nnx.BatchStat)))

    step = jax.jit(jax.value_and_grad(forward, (0, 1), has_aux=True))
    return step(params, x), str(step.trace(params, x).jaxpr)


@pytest.mark.parametrize("remat", ["none", "modules"])
def test_loop_changes_nothing_but_the_program(remat):
    with jax.enable_x64(True):
        expected, written_out = run(False)
        got, looped = run(True, remat)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert "scan[" not in written_out
    convolutions = [text.count("conv_general_dilated[") for text in (written_out, looped)]
    assert convolutions[0] >= 3 * MODULES > convolutions[1]


def test_statistics_of_every_module_move_and_stay_in_evaluation():
    with jax.enable_x64(True):
        (((_, (_, moved)), _), _), (((_, (_, kept)), _), _) = run(True), run(True, train=False)
    means = [np.asarray(moved[i]["bn"]["mean"]) for i in range(MODULES)]
    assert all(np.abs(mean).min() > 0 for mean in means)
    assert len({mean.tobytes() for mean in means}) == MODULES
    assert all((kept[i]["bn"]["mean"] == 0).all() for i in range(MODULES))


@pytest.mark.parametrize(
    ("setting", "platform", "remat", "expected"),
    [
        ("auto", "tpu", "modules", True),
        ("auto", "tpu", "none", False),
        ("auto", "cuda", "modules", False),
        ("always", "cpu", "none", True),
        ("never", "tpu", "modules", False),
    ],
)
def test_auto_loops_where_it_costs_little(setting, platform, remat, expected):
    assert repetition.is_wanted(setting, platform, remat) == expected
