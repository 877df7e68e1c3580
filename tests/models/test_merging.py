"""Two branches share their collectives, and values and gradients stay the same."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hmsa_jax.distributed.sharding import make_mesh
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.batch_norm import normalize_batch
from hmsa_jax.models.layers.materialization import materialize
from hmsa_jax.models.merging import merged
from hmsa_jax.models.remat import POLICIES
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.performance import flops
from tests import least_networks
from tests.exchanges import count_collectives

BATCH, CHANNELS, DEPTH = 8, 4, 3


@jax.custom_vjp
def doubled(x):
    """Whose gradient is not that of its value, so that it shows which one is taken."""
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, g: (5 * g,))


def branch(weight, x):
    """Some layers, one of which is shared by what follows, and running statistics."""
    running = jnp.zeros_like(weight[0])
    for layer in range(DEPTH):
        with jax.named_scope(f"layer_{layer}"):
            y, running, _ = normalize_batch(
                jnp.tanh(x @ weight),
                running,
                jnp.ones_like(running),
                weight[0],
                weight[1],
                BATCH,
                x.dtype,
                (BATCH, 1),
            )
            x = materialize(doubled(x + y))
    return x, running


def branches(weights, x):
    """Two that do not wait for each other, of unlike sizes."""
    with jax.named_scope("low"):
        low = branch(weights["low"], x[:, ::2])
    with jax.named_scope("high"):
        high = branch(weights["high"], x)
    return low, high


def handing_on(weight, x):
    """A branch that returns its weight as well, as modules return all of their parameters."""
    return *branch(weight, x), weight


def in_regions(weights, x):
    """Both rematerialised by themselves; the second takes what the first has handed on."""
    again = jax.checkpoint(handing_on, policy=POLICIES["modules"])
    with jax.named_scope("low"):
        low, first, handed_on = again(weights["low"], x[:, ::2])
    with jax.named_scope("high"):
        high, second, _ = again(weights["high"] + 0 * handed_on, x)
    return (low, first), (high, second)


RUNS = {
    "as they are": branches,
    "in one region": jax.checkpoint(
        branches,
        policy=POLICIES["modules"],
    ),
    "in two regions": in_regions,
}


def network(run):
    def outputs(weights, x):
        (low, first), (high, second) = RUNS[run](weights, x)
        total = jnp.square(high).sum() + (low * high[:, ::2]).sum()
        return total, {"running": (first, second), "constant": jnp.float32(3), "weights": weights}

    return outputs


@pytest.fixture(scope="module")
def on_eight_devices():
    """Arguments, with an image on each device; in float64, for gradients span six decades."""
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal((CHANNELS, CHANNELS)) for name in ("low", "high")}
    images = 2 + rng.standard_normal((BATCH, 4, 6, CHANNELS))
    with jax.enable_x64(True):
        place = NamedSharding(make_mesh(8, 1), PartitionSpec("data"))
        return weights, jax.device_put(images, place)


def run(function, arguments):
    """Value, gradients and auxiliary results, and the text of the program."""
    step = jax.jit(jax.value_and_grad(function, has_aux=True))
    with jax.enable_x64(True):
        program = step.lower(*arguments).compile()
        return jax.device_get(program(*arguments)), program.as_text()


def all_reduces(text):
    """How many there are of moments and of gradients of vectors, alone or combined."""
    found = re.findall(r"= (\(?\w+\[[\d,]*\].*?) all-reduce(?:-start)?\(", text)
    return sum(f"[{CHANNELS},{CHANNELS}]" not in arrays for arrays in found)


@pytest.mark.parametrize("way", RUNS)
def test_merged_is_the_same_function_with_half_of_the_collectives(on_eight_devices, way):
    apart, text_apart = run(network(way), on_eight_devices)
    together, text_together = run(merged(network(way)), on_eight_devices)
    for got, expected in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    assert jax.tree.structure(together) == jax.tree.structure(apart)
    # A layer tells moments forward and gradients backward; the recomputation tells nothing. The
    # compiler combines few by itself.
    assert all_reduces(text_apart) > 1.5 * 2 * DEPTH
    assert all_reduces(text_together) == 2 * DEPTH
    for scope in ("low", "high"):
        assert re.search(rf"{scope}[^\"]*layer_2[^\"]*normalization", text_together)
    assert re.search(r" all-reduce\(.*op_name=\"[^\"]*collectives", text_together)


def test_one_device_takes_the_function_as_it_is():
    """With one share there is nothing to merge, and nothing is traced twice."""
    x = np.random.default_rng(0).standard_normal((2, 4, 6, CHANNELS), np.float32)
    text = str(
        jax.make_jaxpr(
            lambda x: normalize_batch(
                x, *[jnp.zeros(CHANNELS)] * 4, 2, jnp.dtype("float32"), (1, 1)
            )
        )(x)
    )
    assert "known_to_all" not in text
    assert "to_each_share" not in text


def least_network(remat):
    """Graph and values of a small one."""
    with TRUNKS.holding("least", least_networks.HRNET):
        architecture = multiscale.Architecture(
            "least", 5, ocr_channels=16, ocr_key_channels=8, head_channels=8, dropout=0.0
        )
        return multiscale.initialize(architecture, dtype="float32", remat=remat, seed=0)


def forward(graphdef, scales, shares):
    def run(params, batch_stats, images):
        return multiscale.apply(
            graphdef,
            params,
            batch_stats,
            images,
            scales,
            train=True,
            dropout_key=jax.random.key(0),
            shares=shares,
        )

    return run


@pytest.mark.parametrize("remat", ["none", "modules"])
def test_two_scales_of_a_network_have_the_collectives_of_one(remat):
    """Neither running statistics nor what rematerialised modules return chains the scales."""
    graphdef, *values = least_network(remat)

    def traced(scales):
        images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.float32)
        jaxpr = jax.make_jaxpr(forward(graphdef, scales, (8, 1)))(*values, images)
        return count_collectives(jaxpr.jaxpr)

    both = traced((0.5, 1.0))
    assert both == traced((1.0,)) == traced((0.5,))
    assert both > 20


@pytest.mark.parametrize("remat", ["none", "modules"])
def test_a_merged_step_has_the_work_of_one_device(remat):
    """The highest scale's attention, which no loss reads, has no backward pass on eight either."""
    graphdef, *values = least_network(remat)
    objective = Objective(main_loss="cross_entropy")

    def traced(shares):
        def loss(params, batch_stats, images, labels):
            outputs, moved = forward(graphdef, (0.5, 1.0), shares)(params, batch_stats, images)
            return objective(outputs, labels)[0], moved

        images = jax.ShapeDtypeStruct((8, 64, 64, 3), jnp.float32)
        labels = jax.ShapeDtypeStruct((8, 64, 64), jnp.uint8)
        step = jax.jit(jax.value_and_grad(loss, has_aux=True)).trace(*values, images, labels)
        return flops.count(step.jaxpr)

    assert traced((8, 1)) == traced((1, 1)) > 0
