"""What the network has to know of a trunk."""

import dataclasses
from collections.abc import Callable, Mapping

from flax import nnx

from hmsa_jax.models.layers.canvas import MULTIPLE

PublishedNames = Mapping[str, str | tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Trunk:
    """An entry of `trunks.TRUNKS`.

    Attributes:
      build: `(layer, remat=) -> module`, which maps normalised images `[B, H, W, 3]` to the
        features that the decoder takes; see `layers.layer.Layer`.
      decoder: name in `decoders.DECODERS` of what follows it.
      coarsest_stride: of its coarsest features; a divisor of `canvas.MULTIPLE`.
      published_names: our layer -> the published convolution and BatchNorm, or the convolution
        alone; see `pretrained`.
      renamed: patterns of names that others gave the trunk by itself -> the published ones.
      dropped: pattern of the names of those, such as classifiers, that have no place here.
      other_names: name in `published_names.ORIGINS` -> what that one calls the published layers.
      landmarks: published convolution -> channels that it returns, 0 where there is none: enough to
        tell this trunk from others by its weights. Without any it is not recognised by them.
    """

    build: Callable[..., nnx.Module]
    decoder: str
    coarsest_stride: int
    published_names: PublishedNames
    renamed: Mapping[str, str]
    dropped: str
    other_names: Mapping[str, PublishedNames] = dataclasses.field(default_factory=dict)
    landmarks: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if MULTIPLE % self.coarsest_stride:
            raise ValueError(
                f"a trunk has coarsest_stride={self.coarsest_stride}; expected a divisor of"
                f" {MULTIPLE}, of which the sides of a canvas are multiples"
            )
