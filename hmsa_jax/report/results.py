"""Confusion matrices by protocol, as JSON and as a table."""

import json
from collections.abc import Iterable

import numpy as np
import rich.table
from rich.text import Text

from hmsa_jax.metrics.confusion import class_iou, mean_iou, pixel_accuracy


def to_json(confusions: dict[str, np.ndarray], classes: tuple[str, ...], **facts: str | int) -> str:
    """All figures of an evaluation.

    Args:
      confusions: protocol -> integer `[C, C]`; row: label, column: prediction.
      classes: names of the classes.
      **facts: what else a reader has to know, such as step and split.

    Returns:
      A JSON object: the facts, and for each protocol mean IoU, pixel accuracy and IoU by class
      (percent; null for a class that is neither labelled nor predicted) and the matrix.
    """

    def percent(value: float) -> float | None:
        return None if np.isnan(value) else round(100 * float(value), 4)

    protocols = {
        name: {
            "mean_iou": percent(mean_iou(confusion)),
            "pixel_accuracy": percent(pixel_accuracy(confusion)),
            "iou": dict(zip(classes, map(percent, class_iou(confusion)), strict=True)),
            "confusion": confusion.tolist(),
        }
        for name, confusion in confusions.items()
    }
    return json.dumps({**facts, "classes": classes, "protocols": protocols}) + "\n"


def to_table(
    confusions: dict[str, np.ndarray], classes: tuple[str, ...], title: str
) -> rich.table.Table:
    """A table of IoU in percent: a row a class, a column a protocol, the best of a row in bold."""
    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("IoU, %")
    for name in confusions:
        method, _, scales = name.partition(" ")
        table.add_column(f"{method}\n{scales}", justify="right")
    ious = np.array([class_iou(confusion) for confusion in confusions.values()])
    for name, row in zip(classes, ious.T, strict=True):
        table.add_row(name, *_cells(row))
    table.add_section()
    table.add_row("mean IoU", *_cells([mean_iou(c) for c in confusions.values()]))
    table.add_row("pixel accuracy", *_cells([pixel_accuracy(c) for c in confusions.values()]))
    return table


def _cells(values: Iterable[float]) -> list[Text]:
    texts = ["-" if np.isnan(value) else f"{100 * value:.1f}" for value in values]
    best = max((float(text) for text in texts if text != "-"), default=None)
    return [
        Text.assemble((text, "bold" if text != "-" and float(text) == best else ""))
        for text in texts
    ]
