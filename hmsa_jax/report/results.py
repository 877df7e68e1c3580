"""What an evaluation has found, as JSON, as a table and as a line of its worst images."""

import itertools
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import rich.table
from rich.text import Text

from hmsa_jax.inference.evaluation import Evaluation
from hmsa_jax.metrics import METRICS, bootstrap
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
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.metrics.metric import Figures
from hmsa_jax.report import count_file

_BY_CLASS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "iou": class_iou,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}
# What of a file is no fact that the scores depend on.
_FOUND = ("protocols", "differences", "objects", "shares", "costs")
_NAMED = 5  # of the worst images


def to_json(evaluation: Evaluation, **facts: Any) -> str:
    """All figures of an evaluation.

    Args:
      evaluation: what was counted.
      **facts: what else a reader has to know, such as step and split.

    Returns:
      A JSON object: the facts, the classes and the names of the metrics; for each protocol its
      scores, those by class too (percent; null where there is none, as the IoU of a class that is
      neither labelled nor predicted), the interval of the mean IoU, the confusion matrix, the
      metrics, and the scores of each image, the worst first; and the differences of the mean IoU
      between protocols, with their paired intervals.
    """
    confusions = evaluation.confusions
    protocols = {
        name: {
            **of_confusion(confusions.totals[name], confusions.classes),
            "mean_iou_interval": interval_ends(confusions.resampled[name]),
            **{
                metric: _of_metric(figures[name], confusions.classes)
                for metric, figures in figures_of(evaluation).items()
            },
            "images": [
                {
                    "image": score.image,
                    "mean_iou": percent(score.mean_iou),
                    "pixel_accuracy": percent(score.pixel_accuracy),
                }
                for score in confusions.worst_first(name)
            ],
        }
        for name in confusions.protocols
    }
    found = {"protocols": protocols, "differences": _differences(confusions)}
    kind = {**facts, "classes": confusions.classes, "metrics": list(evaluation.sums)}
    return json.dumps({**kind, **found}) + "\n"


def figures_of(evaluation: Evaluation) -> dict[str, dict[str, Figures]]:
    """metric -> protocol -> what follows from its counts."""
    protocols = evaluation.confusions.protocols
    return {
        metric: {
            protocol: METRICS.get(metric).figures({name: sums[i] for name, sums in counts.items()})
            for i, protocol in enumerate(protocols)
        }
        for metric, counts in evaluation.sums.items()
    }


def path_for(directory: pathlib.Path, name: str, text: str) -> pathlib.Path:
    """Where scores go: `NAME.json`, or `NAME-2.json` and so on beside scores of another kind.

    Args:
      directory: of the scores.
      name: without suffix.
      text: from `to_json`; what it depends on are its facts, classes, metrics and protocols.
    """
    for number in itertools.count(1):
        path = directory / (f"{name}-{number}.json" if number > 1 else f"{name}.json")
        counts = path.with_suffix(".npz")
        if path.exists():
            is_ours = kind_of(path.read_text()) == kind_of(text)
        else:  # the counts of scores that are gone
            is_ours = not counts.exists() or _kind_of_counts(counts) == kind_of(text)
        if is_ours:
            return path
    raise AssertionError  # a number is free


def kind_of(text: str) -> dict[str, Any] | None:
    """What scores depend on; None of a file that holds none.

    Args:
      text: from `to_json`, of this version or an earlier one.

    Returns:
      The facts, the classes, and the names of metrics and protocols.
    """
    try:
        scores = json.loads(text)
        facts = {name: value for name, value in scores.items() if name not in _FOUND}
        return {**facts, "protocols": list(scores["protocols"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def to_table(evaluation: Evaluation, title: str) -> rich.table.Table:
    """A table of IoU in percent: a row a class, a column a protocol, the best of a row in bold.

    Below them are the mean IoU with its interval, the pixel accuracy and what the metrics say
    overall, in percent.
    """
    confusions = evaluation.confusions
    totals = confusions.totals
    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("IoU, %")
    for name in totals:
        method, _, scales = name.partition(" ")
        table.add_column(f"{method}\n{scales}", justify="right")
    ious = np.array([class_iou(confusion) for confusion in totals.values()])
    for name, row in zip(confusions.classes, ious.T, strict=True):
        table.add_row(name, *_cells(row))
    table.add_section()
    table.add_row("mean IoU", *_cells([mean_iou(c) for c in totals.values()]))
    intervals = [bootstrap.interval(samples) for samples in confusions.resampled.values()]
    table.add_row(f"{bootstrap.PERCENT} % interval", *map(interval_text, intervals))
    table.add_row("pixel accuracy", *_cells([pixel_accuracy(c) for c in totals.values()]))
    for metric, figures in figures_of(evaluation).items():
        entry = METRICS.get(metric)
        for name, row_title in entry.titles.items():
            values = [of_protocol.overall[name] for of_protocol in figures.values()]
            table.add_row(row_title, *_cells(values, entry.best))
    return table


def worst_images(confusions: ImageConfusions) -> str:
    """A line that names the images with the lowest mean IoU by the protocol with the highest."""
    best = max(confusions.protocols, key=lambda name: np.nan_to_num(_mean_iou(confusions, name)))
    worst = [
        f"{score.image} ({100 * score.mean_iou:.1f})"
        for score in confusions.worst_first(best)[:_NAMED]
        if not np.isnan(score.mean_iou)
    ]
    return f"Lowest mean IoU of an image by {best}: {', '.join(worst) or 'none is labelled'}"


def interval_text(ends: tuple[float, float], *, signed: bool = False) -> str:
    """An interval of fractions in percent; a narrow column breaks it into two lines.

    Args:
      ends: of the interval; NaN if it is not known.
      signed: whether positive numbers have a sign, too.
    """
    low, high = (f"{100 * end:+z.1f}" if signed else f"{100 * end:z.1f}" for end in ends)
    return "-" if np.isnan(ends[0]) else f"{low} to {high}"


def percent(value: float) -> float | None:
    """A fraction in percent; None for NaN."""
    return None if np.isnan(value) else round(100 * float(value), 4)


def interval_ends(samples: np.ndarray) -> list[float | None]:
    """The ends of `bootstrap.interval` in percent."""
    return [percent(end) for end in bootstrap.interval(samples)]


def of_confusion(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """All scores that follow from a confusion matrix `[C, C]`, in percent, and the matrix."""
    return {
        "mean_iou": percent(mean_iou(confusion)),
        "pixel_accuracy": percent(pixel_accuracy(confusion)),
        "frequency_weighted_iou": percent(frequency_weighted_iou(confusion)),
        "mean_f1": percent(mean(f1(confusion))),
        **{name: _by_class(score(confusion), classes) for name, score in _BY_CLASS.items()},
        "confusion": confusion.tolist(),
    }


def _mean_iou(confusions: ImageConfusions, protocol: str) -> float:
    return mean_iou(confusions.totals[protocol])


def _by_class(scores: np.ndarray, classes: tuple[str, ...]) -> dict[str, float | None]:
    return dict(zip(classes, map(percent, scores), strict=True))


def _of_metric(figures: Figures, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        **{name: percent(value) for name, value in figures.overall.items()},
        **{name: _by_class(scores, classes) for name, scores in figures.by_class.items()},
        **figures.curve,
    }


def _differences(confusions: ImageConfusions) -> list[dict[str, Any]]:
    """Of each pair of protocols the mean IoU of the second beyond that of the first."""
    resampled = confusions.resampled
    return [
        {
            "protocols": [first, second],
            "mean_iou": percent(_mean_iou(confusions, second) - _mean_iou(confusions, first)),
            "interval": interval_ends(resampled[second] - resampled[first]),
        }
        for first, second in itertools.combinations(confusions.protocols, 2)
    ]


def _kind_of_counts(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        return count_file.read_kind(path)
    except ValueError:
        return None


def _cells(values: Iterable[float], best_of: Callable[..., Any] = max) -> list[Text]:
    texts = ["-" if np.isnan(value) else f"{100 * value:z.1f}" for value in values]
    best = best_of((float(text) for text in texts if text != "-"), default=None)
    return [
        Text.assemble((text, "bold" if text != "-" and float(text) == best else ""))
        for text in texts
    ]
