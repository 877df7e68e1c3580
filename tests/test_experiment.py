"""What a config is made into."""

import jax
import pytest
from flax import nnx

from configs import street_scenes
from hmsa_jax import experiment
from hmsa_jax.models.batch_norm import BatchNorm
from hmsa_jax.models.layers import Conv


def layers_of(parts, kind):
    """All layers of a kind in the network of an experiment."""
    network = nnx.merge(parts.graphdef, parts.params, parts.batch_stats)
    return [module for _, module in nnx.iter_modules(network) if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("spatial", "batch_size", "accumulate", "merged"),
    [
        (1, 8, 1, "all"),
        (1, 16, 1, "narrow"),
        (1, 16, 2, "all"),
        (2, 4, 1, "all"),
        (2, 8, 1, "none"),
        (2, 8, 2, "all"),
    ],
)
def test_rows_are_merged_where_that_is_faster_and_exchanges_none(
    spatial, batch_size, accumulate, merged
):
    config = street_scenes.get_config()
    config.mesh.spatial = spatial
    config.data.batch_size = batch_size
    config.optimizer.accumulate = accumulate
    layers = layers_of(experiment.assemble(config), Conv)  # on eight devices
    assert {layer.merge_rows for layer in layers} == {merged}


def test_mesh_is_made_of_the_devices_that_are_given():
    parts = experiment.assemble(street_scenes.get_config(), jax.devices()[:2])
    assert parts.mesh.shape == {"data": 2, "spatial": 1}
    assert experiment.assemble(street_scenes.get_config()).mesh.size == jax.device_count()


def test_every_batch_norm_has_the_group():
    config = street_scenes.get_config()
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {0}
    config.model.batch_norm_group = 4
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {4}
