"""Which network a file of weights holds, as far as names and shapes tell."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hmsa_jax.models import heads
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.published_names import with_published_names
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.models.trunks.trunk import PublishedNames, Trunk


@dataclasses.dataclass(frozen=True)
class Recognized:
    """What a file holds.

    Attributes:
      trunk: name in `trunks.TRUNKS`.
      classes: that it predicts; 0 for a trunk alone.
      fields: of `Architecture`, but for those two -> their values, as far as the file tells.
    """

    trunk: str
    classes: int
    fields: Mapping[str, Any]

    def describe(self) -> str:
        """A phrase for messages, like `w48 and ocr for 19 classes, attention none`."""
        if not self.classes:
            return f"the trunk {self.trunk} without a head of ours"
        decoder = TRUNKS.get(self.trunk).decoder
        attention = self.fields["attention"]
        return f"{self.trunk} and {decoder} for {self.classes} classes, attention {attention}"


def recognize(tensors: Mapping[str, np.ndarray]) -> Recognized | None:
    """The network whose tensors they are.

    What it says is a start: whether every tensor fits shows when they are loaded.

    Args:
      tensors: name -> array, as a file has them.

    Returns:
      None where the trunk is unknown, and where the scales that explicit attention weighs would
      have to be.

    Raises:
      ValueError: two tensors stand for one.
    """
    for name in TRUNKS.names():
        trunk = TRUNKS.get(name)
        if not trunk.landmarks:
            continue
        published = with_published_names(tensors, trunk)
        channels = {
            key.removesuffix(".weight"): value.shape[0]
            for key, value in published.items()
            if key.endswith(".weight") and value.ndim
        }
        if all(channels.get(layer, 0) == count for layer, count in trunk.landmarks.items()):
            fields = _fields(trunk, channels)
            classes = fields.pop("classes", 0)
            if fields.get("attention") != "explicit":
                return Recognized(name, classes, fields)
    return None


def _fields(trunk: Trunk, channels: Mapping[str, int]) -> dict[str, Any]:
    """The fields of `Architecture`, from the channels that published convolutions return."""
    decoder = DECODERS.get(trunk.decoder)

    def outputs(table: PublishedNames, layer: str) -> int:
        names = table.get(layer, "")
        conv = names if isinstance(names, str) else names[0]
        return channels.get(conv.format(0), 0)

    kinds = (heads.PUBLISHED, *heads.SEMANTIC_HEADS)  # after DeepLabV3+ all have the same names
    for head in kinds:
        table = {**decoder.published_names[head], **heads.PUBLISHED_ATTENTION_NAMES}
        if classes := outputs(table, "semantic_head.output"):
            break
    else:
        return {}
    maps = outputs(table, "attention_head.output")
    widths = {field: outputs(table, layer) for field, layer in decoder.widths.items()}
    widths["head_channels"] = outputs(table, "attention_head.hidden.{0}") or outputs(
        table, "semantic_head.hidden.0"
    )
    return {
        "classes": classes,
        "semantic_head": head,
        "attention": {0: "none", 1: "hierarchical"}.get(maps, "explicit"),
        **{field: count for field, count in widths.items() if count},
    }
