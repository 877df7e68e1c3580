"""Networks with the published weights, which the fixtures hold or `seeded.py` makes."""

import jax

from hmsa_jax.models import multiscale, pretrained
from tests.fixtures import seeded

TINY = {
    "trunk": "tiny",
    "semantic_head": "published",
    "ocr_channels": 64,
    "ocr_key_channels": 32,
    "head_channels": 24,
    "dropout": 0.0,
}
RESNET = {"trunk": "resnet50", "semantic_head": "published", "classes": 19}


def network(architecture: multiscale.Architecture, state=None, *, dtype: str = "float32"):
    """`(graphdef, params, batch_stats)` with a state dict, by default the seeded one (11)."""
    graphdef, params, batch_stats = multiscale.initialize(
        architecture, dtype=dtype, remat="none", seed=0
    )
    if state is None:
        drawn = pretrained.export(params, batch_stats, architecture, updates=0)
        state = seeded.state_dict(11, {name: value.shape for name, value in drawn.items()})
    params, batch_stats, coverage = pretrained.load(state, params, batch_stats, architecture)
    assert coverage.complete, coverage.describe()
    if dtype == "float64":
        params, batch_stats = jax.tree.map(lambda x: x.astype(dtype), (params, batch_stats))
    return graphdef, params, batch_stats
