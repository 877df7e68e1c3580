"""A run as a report shows it, and what is read of its files for that."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report.count_file import Origin
from hmsa_jax.report.scale_shares import ScaleShares
from hmsa_jax.runtime import storage
from hmsa_jax.training.boards.delivery import MEAN_IOU
from hmsa_jax.training.metric_writer import NAME


@dataclasses.dataclass(frozen=True)
class Scores:
    """An evaluation of a run.

    Attributes:
      origin: what was scored.
      confusions: the counts.
      facts: what else they depend on, as the file of the counts has it.
      metrics: protocol -> metric -> its figures, as the file of the scores has them; empty where
        that file is gone.
    """

    origin: Origin
    confusions: ImageConfusions
    facts: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass
class ReportedRun:
    """A run and what is known of it.

    Attributes:
      name: among the runs of a page.
      command: that trains the same.
      facts: name -> text.
      fields: of the config -> value in words, all of them.
      rows: what its log has, a row for some steps and evaluations; see `read_log`.
      best: step and protocol of the best checkpoint, if one is kept.
      scores: of its newest evaluation, if it has one.
      shares: how much each scale counts in the images that are shown, where that is known.
    """

    name: str
    command: str
    facts: Mapping[str, str]
    fields: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    best: tuple[int, str] | None = None
    scores: Scores | None = None
    shares: ScaleShares | None = None

    def curve(self, figure: str) -> list[tuple[float, float]]:
        """(step, value) of a figure of the log, in the order of the steps."""
        points = {
            row["step"]: float(row[figure])
            for row in self.rows
            if isinstance(row.get(figure), int | float) and np.isfinite(row[figure])
        }
        return sorted(points.items())

    def score_curves(self) -> dict[str, list[tuple[float, float]]]:
        """protocol -> (step, mean IoU in percent)."""
        names = dict.fromkeys(
            name for row in self.rows for name in row if name.startswith(MEAN_IOU)
        )
        curves = {name.removeprefix(MEAN_IOU): self.curve(name) for name in names}
        return {name: curve for name, curve in curves.items() if curve}


def read_log(run: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; a line that is none, as one cut short, is left out."""
    path = run / NAME
    rows = []
    for line in storage.read(path).decode(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def read_metrics(path: pathlib.Path) -> Mapping[str, Mapping[str, Any]]:
    """protocol -> metric -> its figures, of a file of scores; nothing if it is gone.

    Raises:
      ValueError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
        return {
            protocol: {name: figures[name] for name in content.get("metrics", ())}
            for protocol, figures in content["protocols"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or holds no scores ({error!r}); remove it and run `evaluate` again"
        ) from error
