"""The kinds of attention by name: how a network weighs its scales."""

import dataclasses
from collections.abc import Callable

import jax

from hmsa_jax.models import fusion
from hmsa_jax.runtime.registry import Registry


@dataclasses.dataclass(frozen=True)
class Attention:
    """An entry of `ATTENTIONS`.

    Attributes:
      maps: of the scales of the training, how many maps the attention head has; 0 for no head.
      fuse: what training fuses the scales with, `(logits, attention, size, resolution=)`.
      fuses_scales: whether training may have several scales.
      weighs_together: whether one pass of the head weighs all scales of the training, and only
        these; else it weighs each by itself, and inference may have any.
      default_fusion: name in `fusion.FUSIONS` of what inference does unless told otherwise.
    """

    maps: Callable[[tuple[float, ...]], int]
    fuse: Callable[..., jax.Array]
    fuses_scales: bool
    weighs_together: bool
    default_fusion: str


ATTENTIONS: Registry[Attention] = Registry(
    "attention",
    {
        "none": Attention(lambda scales: 0, fusion.hierarchical, False, False, "average"),
        "hierarchical": Attention(
            lambda scales: 1, fusion.hierarchical, True, False, "hierarchical"
        ),
        "explicit": Attention(len, fusion.explicit, True, True, "explicit"),
    },
)
