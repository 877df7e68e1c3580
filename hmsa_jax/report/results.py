"""Confusion matrices by protocol, as JSON and as a table."""

import itertools
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rich.table
from rich.text import Text

from hmsa_jax.metrics.confusion import (
    class_iou,
    f1,
    frequency_weighted_iou,
    mean,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)

_BY_CLASS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "iou": class_iou,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}


def to_json(confusions: dict[str, np.ndarray], classes: tuple[str, ...], **facts: Any) -> str:
    """All figures of an evaluation.

    Args:
      confusions: protocol -> integer `[C, C]`; row: label, column: prediction.
      classes: names of the classes.
      **facts: what else a reader has to know, such as step and split.

    Returns:
      A JSON object: the facts, and for each protocol its scores, those by class too (percent; null
      where there is none, as the IoU of a class that is neither labelled nor predicted), and the
      matrix.
    """

    def percent(value: float) -> float | None:
        return None if np.isnan(value) else round(100 * float(value), 4)

    protocols = {
        name: {
            "mean_iou": percent(mean_iou(confusion)),
            "pixel_accuracy": percent(pixel_accuracy(confusion)),
            "frequency_weighted_iou": percent(frequency_weighted_iou(confusion)),
            "mean_f1": percent(mean(f1(confusion))),
            **{
                name: dict(zip(classes, map(percent, score(confusion)), strict=True))
                for name, score in _BY_CLASS.items()
            },
            "confusion": confusion.tolist(),
        }
        for name, confusion in confusions.items()
    }
    return json.dumps({**facts, "classes": classes, "protocols": protocols}) + "\n"


def path_for(directory: pathlib.Path, name: str, text: str) -> pathlib.Path:
    """Where scores go: `NAME.json`, or `NAME-2.json` and so on beside scores of another kind.

    Args:
      directory: of the scores.
      name: without suffix.
      text: from `to_json`; what it depends on are its facts, classes and protocols.
    """
    for number in itertools.count(1):
        path = directory / (f"{name}-{number}.json" if number > 1 else f"{name}.json")
        if not path.exists() or _kind(path.read_text()) == _kind(text):
            return path
    raise AssertionError  # a number is free


def _kind(text: str) -> dict[str, Any] | None:
    """What scores depend on; None of a file that holds none."""
    try:
        scores = json.loads(text)
        return {**scores, "protocols": list(scores["protocols"])}
    except (ValueError, KeyError, TypeError):
        return None


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
