"""A trunk of two convolutions, for tests of what stands around a network: compiling is their cost.

`python -m tests.short_network VERB ...` is `python main.py VERB ...`, which knows this trunk.
"""

import jax
from flax import nnx

import main
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.canvas import FILLED
from hmsa_jax.models.layers.conv import ConvBN
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.models.trunks.trunk import Trunk


class ShortTrunk(nnx.Module):
    """Stride 4 and eight channels."""

    channels = 8

    def __init__(self, layer, *, remat):
        del remat
        self.first = ConvBN(3, 8, layer, kernel=3, stride=2)
        self.second = ConvBN(8, 8, layer, kernel=3, stride=2)

    def __call__(self, images, *, train, canvas=FILLED):
        return self.second(
            self.first(images, train=train, canvas=canvas), train=train, canvas=canvas
        )


TRUNK = Trunk(
    build=ShortTrunk,
    decoder="ocr",
    coarsest_stride=4,
    published_names={
        "trunk.first": ("backbone.conv1", "backbone.bn1"),
        "trunk.second": ("backbone.conv2", "backbone.bn2"),
    },
    renamed={},
    dropped="^$",
)


def drawn(classes, dtype="float32"):
    """A drawn network of that trunk, with attention that differs from place to place.

    Args:
      classes: their number.
      dtype: that it computes in.

    Returns:
      `(graphdef, params, batch_stats)`.
    """
    architecture = multiscale.Architecture(
        "short", classes, ocr_channels=16, ocr_key_channels=8, head_channels=8
    )
    graphdef, params, batch_stats = multiscale.initialize(
        architecture, dtype=dtype, remat="none", seed=0
    )
    params["attention_head"] = jax.tree.map(lambda x: 4 * x, params["attention_head"])
    return graphdef, params, batch_stats


if __name__ == "__main__":
    TRUNKS.register("short", TRUNK)
    main.start()
