"""The network has the published tensors, name for name and shape for shape."""

import json

import jax
import pytest

from hmsa_jax.models import multiscale
from tests.fixtures.arrays import FOLDER
from tests.models.published_weights import by_published_name


@pytest.fixture(scope="module")
def w48():
    architecture = multiscale.Architecture("w48", 19, semantic_head="published")
    return multiscale.initialize(architecture, dtype="float32", remat=False, seed=0)[1:]


def test_every_published_tensor_has_one_counterpart_of_its_shape(w48):
    published = json.loads((FOLDER / "w48_manifest.json").read_text())
    assert len(published) == 1903
    published = {k: v for k, v in published.items() if not k.endswith("num_batches_tracked")}

    params, batch_stats = map(by_published_name, w48)
    assert not params.keys() & batch_stats.keys()
    ours = {name: [*leaf.shape] for name, leaf in (params | batch_stats).items()}
    ours = {k: [v[3], v[2], v[0], v[1]] if len(v) == 4 else v for k, v in ours.items()}
    assert ours == published


def test_number_of_parameters(w48):
    params, _ = w48
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == pytest.approx(72.143e6, abs=500)
