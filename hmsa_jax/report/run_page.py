"""The page of a run, or of several side by side: which sections it has, and what they say."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hmsa_jax.metrics.objects import LIMITS, SIZES
from hmsa_jax.report import charts, score_pieces
from hmsa_jax.report.page import gallery, page, table
from hmsa_jax.report.page.gallery import Card
from hmsa_jax.report.pictures import Palette
from hmsa_jax.report.reported_run import ReportedRun
from hmsa_jax.report.scale_shares import ScaleShares


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
        page.Section("scores", "Scores", score_pieces.scores(runs)),
    ]
    if protocol is not None:
        sections += [
            page.Section("classes", "Classes", score_pieces.classes(runs, protocol)),
            page.Section("calibration", "Calibration", score_pieces.calibration(runs, protocol)),
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
        head = ["fact", *(run.name for run in runs)]
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
    whose = "" if len(runs) == 1 else f" of {runs[0].name}"
    words = f"{remark} They are predicted by {protocol}; IoU is that{whose} by this protocol."
    words += " Among errors, what is wrong is red, and what has no label is dark."
    classes = scores.confusions.classes
    return [
        page.text(words),
        gallery.gallery(cards, classes, palette, figure="IoU", finds_worst=True),
    ]
