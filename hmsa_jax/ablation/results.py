"""What the tables show: as JSON, as Markdown and in a terminal."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.table

from hmsa_jax.ablation.claims import Verdict
from hmsa_jax.ablation.controls import Control
from hmsa_jax.ablation.costs import Cost, Costs
from hmsa_jax.ablation.networks import NETWORKS
from hmsa_jax.ablation.scores import Figure, Scores
from hmsa_jax.ablation.tables import TABLES, Row, Table
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.metrics import bootstrap
from hmsa_jax.report.results import interval_text


@dataclasses.dataclass(frozen=True)
class Results:
    """What is known of the tables.

    Attributes:
      facts: name -> text: what all networks have in common.
      scores: of the networks that are trained.
      verdicts: on the claims whose networks are.
      costs: of the methods, if they are measured.
      controls: of the hierarchical attention, by name; empty while none is scored.
    """

    facts: Mapping[str, str]
    scores: Scores
    verdicts: Sequence[Verdict]
    costs: Costs | None
    controls: Mapping[str, Control]

    def figure(self, row: Row) -> Figure | None:
        """What a row reaches over all its seeds; None while there is none."""
        side = (row.network, row.protocol)
        seeds = self.scores.seeds(side)
        return self.scores.of(side, seeds) if seeds else None

    def is_scored(self, table: Table) -> bool:
        """Whether any row of a table has a figure."""
        return any(self.figure(row) for row in table.rows)

    def cost(self, row: Row) -> Cost | None:
        """What a training step of a row costs, if that is measured."""
        return self.costs.of[NETWORKS[row.network].method] if self.costs else None


def to_json(results: Results) -> str:
    """All figures, in percent and points; null where there is none."""
    tables = [
        {"title": table.title, "paper": table.paper, "rows": [_row(results, r) for r in table.rows]}
        for table in TABLES
    ]
    verdicts = [
        {
            "claim": verdict.claim.text,
            "better": list(verdict.claim.better),
            "worse": list(verdict.worse),
            "margin": _percent(verdict.claim.margin),
            "verdict": verdict.word,
            "paper": verdict.claim.paper,
            **_figure(verdict.difference),
        }
        for verdict in results.verdicts
    ]
    machine = results.costs.machine if results.costs else None
    content = {
        "facts": results.facts,
        "tables": tables,
        "claims": verdicts,
        "controls": {name: dataclasses.asdict(each) for name, each in results.controls.items()},
        "machine": machine,
    }
    return json.dumps(content, indent=1) + "\n"


def head(table: Table) -> list[str]:
    """The headings of a table; the first two are of names."""
    costs = ["FLOPs, relative", "step, s", "memory, GB"] if _has_costs(table) else []
    return ["method", "evaluation", "paper, %", "mIoU, %", "deviation", "interval", "seeds", *costs]


def cells(results: Results, table: Table) -> list[list[str]]:
    """The rows of a table, a text for each heading; '-' where there is nothing."""
    return [_cells(results, table, row) for row in table.rows]


UNSCORED = "None of its networks is scored."
"""Stands in place of a table without a figure."""

CLAIMS_HEAD = ["claim of the paper", "paper, points", "here, points", "interval", "verdict"]


def claims_cells(results: Results) -> list[list[str]]:
    """A row for each claim on which there is a verdict."""
    return [
        [
            verdict.claim.text,
            f"{verdict.claim.paper:+.1f}",
            f"{100 * verdict.difference.mean:+z.1f}",
            interval_text(verdict.difference.ends, signed=True),
            verdict.word,
        ]
        for verdict in results.verdicts
    ]


CONTROLS_HEAD = ["predicted by", "mIoU, %", "beyond the hierarchy, points", "by seed"]


def controls_cells(results: Results) -> list[list[str]]:
    """A row for each control of the attention."""
    return [
        [
            name,
            f"{each.mean:z.1f}",
            f"{each.mean_beyond:+z.1f}",
            " ".join(f"{value:+z.1f}" for value in each.beyond.values()),
        ]
        for name, each in results.controls.items()
    ]


def notes(results: Results) -> list[str]:
    """Sentences on what the figures mean."""
    lines = [
        f"Mean over seeds of the mean IoU; deviation: the standard deviation over seeds; interval:"
        f" {bootstrap.PERCENT} % by {bootstrap.RESAMPLES} resamples of images and seeds together,"
        " the same ones for both sides of a difference.",
        "A claim holds if the whole interval of its difference lies on the claimed side, does not"
        " hold if all of it lies on the other, and cannot be told otherwise.",
    ]
    if results.controls:
        lines.append(
            "Controls replace the attention of the hierarchical network, trained without a pool;"
            " docs/evaluation.md says how. The oracle takes at each pixel a scale that is right."
        )
    if results.costs:
        lines.append(
            "Costs are those of a training step, its time and memory measured on"
            f" {results.costs.machine}; the paper's in brackets."
        )
    return lines


def to_markdown(results: Results) -> str:
    """The tables and the claims, as Markdown."""
    parts = [*(f"- {name}: {text}" for name, text in results.facts.items()), ""]
    for table in TABLES:
        parts += [f"## {table.title}", ""]
        if results.is_scored(table):
            parts += [f"The paper's figures are of {table.paper}.", ""]
            parts += [*_markdown(head(table), cells(results, table), 2), ""]
        else:
            parts += [UNSCORED, ""]
    parts += ["## Claims", "", *_markdown(CLAIMS_HEAD, claims_cells(results), 1), ""]
    if results.controls:
        rows = controls_cells(results)
        parts += ["## Controls of the attention", "", *_markdown(CONTROLS_HEAD, rows, 1), ""]
    return "\n".join([*parts, *(f"{note}\n" for note in notes(results))])


def to_tables(results: Results) -> Iterator[rich.table.Table]:
    """The tables and the claims, for a terminal."""
    for table in filter(results.is_scored, TABLES):
        yield _rich(table.title, head(table), cells(results, table), 2)
    yield _rich("Claims", CLAIMS_HEAD, claims_cells(results), 1)
    if results.controls:
        yield _rich("Controls of the attention", CONTROLS_HEAD, controls_cells(results), 1)


def _rich(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], names: int
) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < names else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> list[str]:
    rule = ["---" if i < names else "---:" for i in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _cells(results: Results, table: Table, row: Row) -> list[str]:
    figure = results.figure(row)
    measured = ["-"] * 4
    if figure is not None:
        seeds = " ".join(f"{100 * value:z.1f}" for value in figure.by_seed.values())
        deviation = "-" if math.isnan(figure.deviation) else f"{100 * figure.deviation:z.1f}"
        measured = [f"{100 * figure.mean:z.1f}", deviation, interval_text(figure.ends), seeds]
    costs = _cost_cells(results, row) if _has_costs(table) else []
    name = protocol_lib.parse(row.protocol).name
    return [row.title, name, f"{row.paper_iou:.1f}", *measured, *costs]


def _cost_cells(results: Results, row: Row) -> list[str]:
    cost = results.cost(row)
    if cost is None or results.costs is None:
        return [f"- ({row.paper_flops:.2f})", f"- ({row.paper_seconds:.2f})", "-"]
    relative = cost.flops / results.costs.of["single"].flops
    memory = "-" if cost.memory is None else f"{cost.memory / 1e9:.2f}"
    return [
        f"{relative:.2f} ({row.paper_flops:.2f})",
        f"{cost.seconds:.2f} ({row.paper_seconds:.2f})",
        memory,
    ]


def _has_costs(table: Table) -> bool:
    return all(row.paper_flops is not None for row in table.rows)


def _row(results: Results, row: Row) -> dict[str, Any]:
    figure, cost = results.figure(row), results.cost(row)
    return {
        **dataclasses.asdict(row),
        **(_figure(figure) if figure else {"by_seed": {}}),
        "cost": dataclasses.asdict(cost) if cost else None,
    }


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "by_seed": {str(seed): _percent(value) for seed, value in figure.by_seed.items()},
        "mean": _percent(figure.mean),
        "deviation": _percent(figure.deviation),
        "interval": [_percent(end) for end in figure.ends],
    }


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * value, 4)
