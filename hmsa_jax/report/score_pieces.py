"""The pieces of a page that show the scores of a run, or of several on the same images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hmsa_jax.metrics import METRICS, bootstrap
from hmsa_jax.metrics import confusion as scores_of
from hmsa_jax.report import charts, comparison, results
from hmsa_jax.report.page import page, table
from hmsa_jax.report.reported_run import ReportedRun, Scores

_BEYOND = {  # of a confusion matrix, beside the IoUs
    "mean IoU": scores_of.mean_iou,
    "pixel accuracy": scores_of.pixel_accuracy,
    "frequency-weighted IoU": scores_of.frequency_weighted_iou,
    "mean F1": lambda confusion: scores_of.mean(scores_of.f1(confusion)),
}
_NOT_SCORED = "There is no evaluation yet: `evaluate` makes one, and `report` then shows it."


def scores(runs: Sequence[ReportedRun]) -> list[Markup]:
    """The table of a run and what its protocols differ by; of several runs first what these do."""
    (first, *others) = runs
    if first.scores is None:
        return [page.text(_NOT_SCORED, is_warning=True)]
    confusions = first.scores.confusions
    tables = [_score_table(run, f"{run.name}: " if others else "") for run in runs]
    differences = []
    if not others and len(confusions.protocols) > 1:
        head = ["first", "second", "first, mIoU %", "second, mIoU %"]
        found = comparison.of_protocols(confusions)
        differences.append(_difference_table("Between the protocols", head, found))
    for run in others:
        assert run.scores is not None
        found = comparison.of_runs(confusions, run.scores.confusions)
        head = ["protocol", f"{first.name}, mIoU %", f"{run.name}, mIoU %"]
        differences.append(_difference_table(f"{run.name} beyond {first.name}", head, found))
    return [
        *(differences + tables if others else tables + differences),
        page.text(
            f"Intervals are the middle {bootstrap.PERCENT} % of {bootstrap.RESAMPLES} resamples of"
            " the images; those of differences are paired. A difference whose interval leaves out"
            " 0 stands out, as does the best figure of a row."
        ),
    ]


def _score_table(run: ReportedRun, prefix: str) -> Markup:
    assert run.scores is not None
    scores = run.scores
    totals = scores.confusions.totals
    ious = np.array([scores_of.class_iou(total) for total in totals.values()])
    by_class = [
        [name, *table.best_of(list(100 * row))]
        for name, row in zip(scores.confusions.classes, ious.T, strict=True)
    ]
    overall: list[list[Any]] = [
        [name, *table.best_of([100 * score(total) for total in totals.values()])]
        for name, score in _BEYOND.items()
    ]
    resampled = scores.confusions.resampled.values()
    ends = [results.interval_text(bootstrap.interval(samples)) for samples in resampled]
    overall.insert(1, [f"{bootstrap.PERCENT} % interval", *ends])
    return table.table(
        f"{prefix}IoU in percent, of step {scores.origin.step} on {scores.origin.split}",
        ["class", *totals],
        overall + _metric_rows(scores),
        by_class,
    )


def _metric_rows(scores: Scores) -> list[list[Any]]:
    """What the metrics of the evaluation say overall, as far as its file says it."""
    protocols = scores.confusions.protocols
    rows = []
    for metric in next(iter(scores.metrics.values()), {}):
        if metric not in METRICS.names():
            continue
        entry = METRICS.get(metric)
        for name, title in entry.titles.items():
            found = [scores.metrics.get(p, {}).get(metric, {}).get(name) for p in protocols]
            values = [np.nan if value is None else value for value in found]
            rows.append([title, *table.best_of(values, entry.best)])
    return rows


def _difference_table(
    caption: str, head: Sequence[str], differences: Sequence[comparison.Difference]
) -> Markup:
    rows = []
    for difference in differences:
        first, second, beyond, ends = difference.cells()
        marked = table.Cell(beyond, difference.is_clear)
        rows.append([*difference.names, first, second, marked, ends])
    head = [*head, "difference", f"{bootstrap.PERCENT} % interval"]
    return table.table(caption, head, rows, names=len(head) - 4)


def classes(runs: Sequence[ReportedRun], protocol: str) -> list[Markup]:
    """Bars and confusion matrices: of one run by protocol, of several by run and protocol."""
    totals = {}
    for run in runs:
        assert run.scores is not None
        for name, total in run.scores.confusions.totals.items():
            totals[name if len(runs) == 1 else f"{run.name}: {name}"] = total
        classes = run.scores.confusions.classes
    if len(runs) == 1:
        drawn, title = totals, "IoU by class, %"
    else:
        drawn = {run.name: totals[f"{run.name}: {protocol}"] for run in runs}
        title = f"IoU by class, by {protocol}, %"
    ious = np.array([scores_of.class_iou(total) for total in drawn.values()])
    rows = [charts.Row(name, 100 * row) for name, row in zip(classes, ious.T, strict=True)]
    key = protocol if len(runs) == 1 else f"{runs[0].name}: {protocol}"
    choices = {key: totals[key]} | totals
    caption = "Confusion: of the pixels of each label (row), the percent predicted as each class"
    return [
        page.beside(charts.bars(title, list(drawn), rows)),
        table.matrix(caption, classes, choices, "Protocol" if len(runs) == 1 else "Run, protocol"),
    ]


def calibration(runs: Sequence[ReportedRun], protocol: str) -> list[Markup]:
    """Reliability curves: of one run by protocol, of several by run; none where none is counted."""
    curves = {}
    for run in runs:
        assert run.scores is not None
        for name, figures in run.scores.metrics.items():
            bins = figures.get("calibration")
            if bins and (len(runs) == 1 or name == protocol):
                curves[name if len(runs) == 1 else run.name] = _reliability(bins)
    known = {name: curve for name, curve in curves.items() if curve}
    if not known:
        return []
    title = "Reliability" if len(runs) == 1 else f"Reliability by {protocol}"
    return [
        page.text(
            "How often pixels are predicted right, by the probability of the predicted class, in 15"
            " bins. On the diagonal both are equal; below it the network is too sure."
        ),
        page.beside(charts.reliability(title, known)),
    ]


def _reliability(bins: Mapping[str, Sequence[float]]) -> list[tuple[float, float]]:
    return [
        (100 * confidence / count, 100 * hits / count)
        for count, hits, confidence in zip(
            bins["count"], bins["hits"], bins["confidence"], strict=True
        )
        if count
    ]
