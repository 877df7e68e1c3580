import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax import optimizer, sharding
from hmsa_jax.checkpoint import Checkpoints
from hmsa_jax.state import initial_state

SGD = optimizer.sgd(optimizer.poly_schedule(0.1, 1.0, 10), momentum=0.9, weight_decay=0.0)


def a_state(mesh, width=3):
    values = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    return initial_state(
        {"layers": {0: values, 1: values + 1}}, {"mean": values[0]}, SGD, sharding.replicated(mesh)
    )


def test_restores_exactly_on_another_mesh_and_keeps_the_newest(tmp_path):
    state = a_state(sharding.make_mesh(8, 1))
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest_step() is None
        for step in (1, 2, 3):
            checkpoints.save(jax.tree.map(lambda x: x + x.dtype.type(1), state), step)
    like = a_state(sharding.make_mesh(2, 1, jax.devices()[:2]))
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest_step() == 3
        restored = checkpoints.restore(like, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"2", "3"}
    for saved, read, target in zip(*map(jax.tree.leaves, (state, restored, like)), strict=True):
        np.testing.assert_array_equal(saved + saved.dtype.type(1), read)
        assert read.sharding == target.sharding


def test_restored_state_can_be_donated(tmp_path):
    state = a_state(sharding.make_mesh(8, 1))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state, 1)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        restored = checkpoints.restore(state, 1)
    jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)(restored)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(restored.params))


def test_another_network_is_refused(tmp_path):
    mesh = sharding.make_mesh(8, 1)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(a_state(mesh), 1)
    with (
        Checkpoints(tmp_path, keep=1) as checkpoints,
        pytest.raises(ValueError, match="does not fit this config's network"),
    ):
        checkpoints.restore(a_state(mesh, width=4), 1)
