"""What an attention is worth: its controls, and what each scale gains where, as JSON and tables."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import rich.table

from hmsa_jax.inference.controls import ORACLE, alone_name, names_of
from hmsa_jax.inference.evaluation import Evaluation
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import fraction, mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.metrics.objects import SIZES
from hmsa_jax.report.results import interval_ends, interval_text, of_confusion, percent


@dataclasses.dataclass(frozen=True)
class ByObject:
    """Fractions of the pixels of objects; NaN where there are none.

    Attributes:
      of_class: `[C]`.
      of_size: `[3]`, by `SIZES`.
      of_both: `[C, 3]`.
    """

    of_class: np.ndarray
    of_size: np.ndarray
    of_both: np.ndarray

    @classmethod
    def of(cls, part: np.ndarray, pixels: np.ndarray) -> "ByObject":
        """From sums over pixels and the number of pixels, both `[C, 3]`."""
        return cls(
            fraction(part.sum(1), pixels.sum(1)),
            fraction(part.sum(0), pixels.sum(0)),
            fraction(part, pixels),
        )

    def __sub__(self, other: "ByObject") -> "ByObject":
        """How much larger these are."""
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return ByObject(*(a - b for a, b in zip(mine, others, strict=True)))

    def to_dict(self, classes: Sequence[str]) -> dict[str, dict]:
        """In percent, by the names of classes and sizes."""
        by_size = [dict(zip(SIZES, map(percent, row), strict=True)) for row in self.of_both]
        return {
            "by_class": dict(zip(classes, map(percent, self.of_class), strict=True)),
            "by_size": dict(zip(SIZES, map(percent, self.of_size), strict=True)),
            "by_class_and_size": dict(zip(classes, by_size, strict=True)),
        }


@dataclasses.dataclass(frozen=True)
class AttentionScores:
    """All figures of a protocol and its controls.

    Attributes:
      protocol: whose attention it is.
      confusions: of each image and of each of `names_of` the protocol.
      recalls: of each of these names.
      shares: of each scale, in the fused logits.
      objects: how many there are, `[C, 3]`.
      pixels: likewise.
    """

    protocol: Protocol
    confusions: ImageConfusions
    recalls: dict[str, ByObject]
    shares: dict[float, ByObject]
    objects: np.ndarray
    pixels: np.ndarray

    @classmethod
    def of(cls, protocol: Protocol, evaluation: Evaluation) -> "AttentionScores":
        """From what the step of `make_controls_step` has counted of a protocol."""
        sums = evaluation.sums["objects"]
        pixels = sums["pixels"]
        hits = zip(names_of(protocol), sums["hits"], strict=True)
        shares = zip(protocol.scales, sums["shares"], strict=True)
        return cls(
            protocol,
            evaluation.confusions,
            {name: ByObject.of(of_name, pixels) for name, of_name in hits},
            {scale: ByObject.of(of_scale, pixels) for scale, of_scale in shares},
            sums["objects"],
            pixels,
        )

    def gain(self, name: str) -> ByObject:
        """The recall beyond that of scale 1 alone."""
        return self.recalls[name] - self.recalls[alone_name(1.0)]

    def beyond(self, name: str) -> tuple[float, np.ndarray]:
        """The mean IoU beyond that of the protocol; and that of each resample of the images."""
        mine, other = (self.confusions.totals[n] for n in (name, self.protocol.name))
        resampled = self.confusions.resampled
        difference = mean_iou(mine) - mean_iou(other)
        return difference, resampled[name] - resampled[self.protocol.name]


def to_json(scores: AttentionScores, **facts: Any) -> str:
    """All figures, in percent.

    Args:
      scores: what was counted.
      **facts: what else a reader has to know, such as step and split.

    Returns:
      A JSON object: the facts, protocol, scales and classes; for each name that is scored the
      scores of its confusion matrix, what its mean IoU is beyond that of the protocol, recall and
      gain by class and size; the shares of each scale; and how many objects and pixels there are.
    """
    classes = scores.confusions.classes
    protocols = {}
    for name, recall in scores.recalls.items():
        beyond, resampled = scores.beyond(name)
        protocols[name] = {
            **of_confusion(scores.confusions.totals[name], classes),
            "mean_iou_interval": interval_ends(scores.confusions.resampled[name]),
            "beyond": {"mean_iou": percent(beyond), "interval": interval_ends(resampled)},
            "recall_of_objects": recall.to_dict(classes),
            "gain": scores.gain(name).to_dict(classes),
        }
    objects = {
        name: {
            size: {"objects": int(scores.objects[i, j]), "pixels": int(scores.pixels[i, j])}
            for j, size in enumerate(SIZES)
        }
        for i, name in enumerate(classes)
    }
    shares = {f"{scale:g}": share.to_dict(classes) for scale, share in scores.shares.items()}
    kind = {"protocol": scores.protocol.name, "scales": scores.protocol.scales, "classes": classes}
    found = {"protocols": protocols, "shares": shares, "objects": objects}
    return json.dumps({**facts, **kind, **found}) + "\n"


def to_table(scores: AttentionScores, title: str) -> rich.table.Table:
    """A row for the protocol, each scale by itself, and each control: mean IoU in percent."""
    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("predicted by")
    for column in ("mean IoU, %", f"beyond {scores.protocol.name}", f"{bootstrap.PERCENT} %"):
        table.add_column(column, justify="right")
    for name, total in scores.confusions.totals.items():
        beyond, resampled = scores.beyond(name)
        ends = bootstrap.interval(resampled)
        is_itself = name == scores.protocol.name
        difference = ("", "") if is_itself else (_points(beyond), interval_text(ends, signed=True))
        table.add_row(name, _cell(mean_iou(total)), *difference)
    return table


def to_gain_table(scores: AttentionScores) -> rich.table.Table:
    """A row for each class and each size of objects: recall, gains and shares, in percent."""
    table = rich.table.Table(
        title="Recall, what others gain beyond scale 1, and the share of each scale, %",
        title_justify="left",
    )
    itself, scales = scores.protocol.name, scores.protocol.scales
    others = [alone_name(scale) for scale in scales if scale != 1]
    gains = [*others, names_of(scores.protocol)[len(scales)], itself, ORACLE]
    table.add_column("pixels of", no_wrap=True)
    heads = [("recall", alone_name(1.0)), *(("gain", name) for name in gains)]
    for kind, name in [*heads, *(("share", f"scale {scale:g}") for scale in scales)]:
        table.add_column(f"{kind}\n" + name.replace(" ", "\n", 1), justify="right")
    columns = [(scores.recalls[alone_name(1.0)], _cell)]
    columns += [(scores.gain(name), _points) for name in gains]
    columns += [(scores.shares[scale], _cell) for scale in scales]
    for i, name in enumerate(scores.confusions.classes):
        table.add_row(name, *(text(figures.of_class[i]) for figures, text in columns))
    table.add_section()
    for i, (name, objects) in enumerate(zip(SIZES, scores.objects.sum(0), strict=True)):
        cells = (text(figures.of_size[i]) for figures, text in columns)
        table.add_row(f"{name} objects ({objects})", *cells)
    return table


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:z.1f}"


def _points(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:+z.1f}"
