"""The page of a run, or of several side by side: which sections it has, and what they say."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hmsa_jax.metrics import METRICS, bootstrap
from hmsa_jax.metrics import confusion as scores_of
from hmsa_jax.report import charts, comparison, results
from hmsa_jax.report.page import gallery, page, table
from hmsa_jax.report.page.gallery import Card
from hmsa_jax.report.reported_run import ReportedRun, Scores
from hmsa_jax.report.scale_shares import LIMITS, SIZES, ScaleShares

Palette = Sequence[tuple[int, int, int]]

_BEYOND = {  # of a confusion matrix, beside the IoUs
    "mean IoU": scores_of.mean_iou,
    "pixel accuracy": scores_of.pixel_accuracy,
    "frequency-weighted IoU": scores_of.frequency_weighted_iou,
    "mean F1": lambda confusion: scores_of.mean(scores_of.f1(confusion)),
}
_NOT_SCORED = "There is no evaluation yet: `evaluate` makes one, and `report` then shows it."


def render(
    runs: Sequence[ReportedRun],
    *,
    defaults: Mapping[str, str],
    protocol: str | None,
    palette: Palette,
    cards: Sequence[Card],
    remark: str,
    foot: str,
) -> str:
    """The text of the page.

    Args:
      runs: which; all of several have scores, of the same images in the same order.
      defaults: field -> its default in words.
      protocol: by which runs are compared and images are shown; None without scores.
      palette: RGB of each class.
      cards: the images that are shown.
      remark: which images these are, or why there are none.
      foot: who made the page.
    """
    sections = [
        page.Section("run", "What was run", _what_was_run(runs, defaults)),
        page.Section("training", "Training", _training(runs, protocol)),
        page.Section("scores", "Scores", _scores(runs)),
    ]
    if protocol is not None:
        sections += [
            page.Section("classes", "Classes", _classes(runs, protocol)),
            page.Section("calibration", "Calibration", _calibration(runs, protocol)),
            page.Section("scales", "Scales", _scales(runs, protocol, remark)),
            page.Section("images", "Images", _images(runs, protocol, palette, cards, remark)),
        ]
    title = " and ".join(run.name for run in runs)
    return page.render(title, [s for s in sections if s.pieces], lead=_lead(runs), foot=foot)


def _lead(runs: Sequence[ReportedRun]) -> str:
    scored = [run.scores for run in runs if run.scores is not None]
    if not scored:
        return "A run of hmsa_jax"
    what = "A run" if len(runs) == 1 else f"{len(runs)} runs"
    images = len(scored[0].confusions.images)
    return f"{what} of hmsa_jax, scored on {images} images of {scored[0].origin.split}"


def _what_was_run(runs: Sequence[ReportedRun], defaults: Mapping[str, str]) -> list[Markup]:
    if len(runs) == 1:
        (run,) = runs
        command = {"a command that trains the same": run.command}
        pieces = [page.facts(command | dict(run.facts), code=command)]
    else:
        commands = {f"a command that trains the same as {run.name}": run.command for run in runs}
        names = dict.fromkeys(name for run in runs for name in run.facts)
        rows = [[name, *(run.facts.get(name, "-") for run in runs)] for name in names]
        head = ["", *(run.name for run in runs)]
        pieces = [
            page.facts(commands, code=commands),
            table.table("What was run", head, rows, names=len(head)),
        ]
    differing = [
        name
        for name, default in defaults.items()
        if any(run.fields.get(name, default) != default for run in runs)
    ]
    rows = [
        [name, defaults[name], *(run.fields.get(name, defaults[name]) for run in runs)]
        for name in differing
    ]
    head = ["field", "default", *(run.name for run in runs)]
    caption = "Fields of the experiment that are not at their default"
    listed = table.table(caption, head, rows, names=len(head))
    return [*pieces, page.folded(f"{caption} ({len(rows)})", listed)]


def _training(runs: Sequence[ReportedRun], protocol: str | None) -> list[Markup]:
    """Curves of the log: of one run all losses and protocols, of several one of each."""
    (first, *others) = runs
    if others:
        losses = {run.name: run.curve("loss") for run in runs}
        scores = {run.name: run.score_curves().get(protocol or "", []) for run in runs}
        title = f"Mean IoU by {protocol}, %"
    else:
        losses = {name: first.curve(name) for name in ("loss", "main", "aux")}
        scores = first.score_curves()
        title = "Mean IoU, %"
    figures: list[tuple[str, Mapping[str, Any], bool]] = [
        ("Loss", losses, False),
        ("Learning rate", {run.name: run.curve("learning_rate") for run in runs}, True),
        ("Images a second", {run.name: run.curve("images_per_second") for run in runs}, True),
    ]
    drawn = [
        charts.lines(title, known, from_zero=from_zero)
        for title, curves, from_zero in figures
        if (known := {name: curve for name, curve in curves.items() if curve})
    ]
    known = {name: curve for name, curve in scores.items() if curve}
    if known:
        best = None if others or first.best is None else _best_point(first)
        drawn.append(charts.lines(title, known, best=best, from_zero=True))
    return [page.beside(*drawn)] if drawn else [page.text("There is no log of a training.")]


def _best_point(run: ReportedRun) -> tuple[float, float] | None:
    assert run.best is not None
    step, protocol = run.best
    return next((p for p in run.score_curves().get(protocol, []) if p[0] == step), None)


def _scores(runs: Sequence[ReportedRun]) -> list[Markup]:
    """Of one run its table and what its protocols differ by; of several first what these do."""
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


def _classes(runs: Sequence[ReportedRun], protocol: str) -> list[Markup]:
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


def _calibration(runs: Sequence[ReportedRun], protocol: str) -> list[Markup]:
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


def _scales(runs: Sequence[ReportedRun], protocol: str, remark: str) -> list[Markup]:
    shown = [(run, run.shares) for run in runs if run.shares is not None]
    if not shown:
        return []
    small, large = (f"{100 * limit:g} %" for limit in LIMITS)
    pieces = [
        page.text(
            f"The mean share of each scale in the logits of {protocol}, over labelled pixels. An"
            f" object is what hangs together of a class in the label: small below {small} of the"
            f" image's area, large from {large} on. {remark}"
        )
    ]
    for run, shares in shown:
        prefix = "" if len(runs) == 1 else f"{run.name}: "
        assert run.scores is not None
        pieces += _scale_pieces(shares, run.scores.confusions.classes, prefix)
    return pieces


def _scale_pieces(shares: ScaleShares, classes: Sequence[str], prefix: str) -> list[Markup]:
    key: dict[str, charts.Colour] = {f"scale {s:g}": i for i, s in enumerate(shares.scales)}
    by_class = [
        charts.Row(name, row)
        for name, row in zip(classes, shares.by_class(), strict=True)
        if not np.isnan(row).any()
    ]
    by_size = [
        charts.Row(name, row, f"{count} objects")
        for name, row, count in zip(SIZES, shares.by_size(), shares.objects.sum(0), strict=True)
        if not np.isnan(row).any()
    ]
    head = ["class", "objects", "how many", *key]
    both = shares.by_class_and_size()
    rows = [
        [name, SIZES[size], shares.objects[i, size], *(f"{v:.1f}" for v in both[i, size])]
        for (i, name), size in itertools.product(enumerate(classes), range(len(SIZES)))
        if shares.objects[i, size]
    ]
    caption = f"{prefix}Share of each scale by class and size of the object, %"
    return [
        page.beside(
            charts.shares(f"{prefix}Share of each scale by class", key, by_class),
            charts.shares(f"{prefix}Share of each scale by size of the object", key, by_size),
        ),
        page.folded(caption, table.table(caption, head, rows, names=2)),
    ]


def _images(
    runs: Sequence[ReportedRun],
    protocol: str,
    palette: Palette,
    cards: Sequence[Card],
    remark: str,
) -> list[Markup]:
    if not cards:
        return [page.text(remark, is_warning=True)]
    scores = runs[0].scores
    assert scores is not None
    of_run = "" if len(runs) == 1 else f" of {runs[0].name}"
    words = f"{remark} They are predicted by {protocol}, and IoU is what that{of_run} reaches."
    words += " Among errors, what is wrong is red, and what has no label is dark."
    classes = scores.confusions.classes
    return [
        page.text(words),
        gallery.gallery(cards, classes, palette, figure="IoU", finds_worst=True),
    ]
