"""What a config is made into."""

import types

import jax
import numpy as np
import pytest
from flax import nnx

from configs import street_scenes
from hmsa_jax import experiment, sharding
from hmsa_jax.models.batch_norm import BatchNorm
from hmsa_jax.models.hrnet import Branch


def layers_of(parts, kind):
    """All layers of a kind in the network of an experiment."""
    network = nnx.merge(parts.graphdef, parts.params, parts.batch_stats)
    return [module for _, module in nnx.iter_modules(network) if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("setting", "platform", "folds"),
    [
        ("auto", "tpu", True),
        ("auto", "cpu", False),
        ("always", "cpu", True),
        ("never", "tpu", False),
    ],
)
def test_columns_are_folded_where_the_devices_ask_for_it(monkeypatch, setting, platform, folds):
    """The devices of the mesh count, be they here or only described."""
    device = types.SimpleNamespace(platform=platform)

    def mesh_of(data, spatial, devices):
        assert devices == [device]
        return types.SimpleNamespace(devices=np.array(devices))

    monkeypatch.setattr(sharding, "make_mesh", mesh_of)
    config = street_scenes.get_config()
    config.model.fold_columns = setting
    branches = layers_of(experiment.assemble(config, [device]), Branch)
    assert len(branches) == 2 + 3 + 4
    assert {branch.fold_columns for branch in branches} == {folds}


def test_mesh_is_made_of_the_devices_that_are_given():
    parts = experiment.assemble(street_scenes.get_config(), jax.devices()[:2])
    assert parts.mesh.shape == {"data": 2, "spatial": 1}
    assert experiment.assemble(street_scenes.get_config()).mesh.size == jax.device_count()


def test_every_batch_norm_has_the_group():
    config = street_scenes.get_config()
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {0}
    config.model.batch_norm_group = 4
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {4}
