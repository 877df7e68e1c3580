"""What the network has to know of a decoder."""

import dataclasses
from collections.abc import Callable, Mapping

from flax import nnx

from hmsa_jax.models.heads import PUBLISHED
from hmsa_jax.models.trunks.trunk import PublishedNames


@dataclasses.dataclass(frozen=True)
class Decoder:
    """An entry of `decoders.DECODERS`.

    Attributes:
      build: `(trunk, architecture, layer) -> module`, which maps the trunk's features to
        those that the heads read, `[B, h, w, channels]`, and to auxiliary logits or None.
      has_auxiliary_head: whether there are auxiliary logits.
      normalises_image_mean: whether a BatchNorm sees one value of each image, which by itself
        becomes a constant.
      widths: fields of `model` that it reads -> our layer that returns so many channels.
      weights: of these widths, by name, how many weights there are at least between them.
      published_names: by semantic head, those of decoder and semantic head, as for a trunk.
      renamed: as for a trunk.
      head_has_bias: whether the last convolution of the semantic head has a bias.
      published_head_is_linear: whether the published semantic head after it is that one
        convolution.
      other_names: as for a trunk; the semantic head is the published one.
      without_bias: name in `published_names.ORIGINS` -> the published convolutions, followed by
        BatchNorm, that have no bias there and one here.
    """

    build: Callable[..., nnx.Module]
    has_auxiliary_head: bool
    normalises_image_mean: bool
    widths: Mapping[str, str]
    weights: Callable[[Mapping[str, int]], int]
    published_names: Mapping[str, PublishedNames]
    renamed: Mapping[str, str]
    head_has_bias: bool
    published_head_is_linear: bool
    other_names: Mapping[str, PublishedNames] = dataclasses.field(default_factory=dict)
    without_bias: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def head_is_linear(self, kind: str) -> bool:
        """Whether a semantic head, one of `heads.SEMANTIC_HEADS`, is one convolution."""
        return self.published_head_is_linear and kind == PUBLISHED
