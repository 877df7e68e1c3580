"""Mean IoU side by side, with the paired interval of the difference: of two runs, or of one."""

import itertools

import numpy as np
import rich.table
from rich.text import Text

from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report.results import interval_text


def of_runs(first: ImageConfusions, second: ImageConfusions, title: str) -> rich.table.Table:
    """A row for each protocol that both have: what the second run reaches beyond the first.

    Args:
      first: of one run.
      second: of another, with the same images in the same order.
      title: of the table.
    """
    table = _table(title, ("protocol",), ("run", "other"))
    for name in first.protocols:
        if name in second.protocols:
            table.add_row(name, *_cells(first, name, second, name))
    return table


def of_protocols(confusions: ImageConfusions, title: str) -> rich.table.Table:
    """A row for each pair of protocols: what the second one reaches beyond the first."""
    table = _table(title, ("first", "second"), ("first", "second"))
    for first, second in itertools.combinations(confusions.protocols, 2):
        table.add_row(first, second, *_cells(confusions, first, confusions, second))
    return table


def _table(title: str, names: tuple[str, ...], scores: tuple[str, ...]) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name)
    for score in scores:
        table.add_column(f"{score},\nmIoU %", justify="right")
    table.add_column("difference", justify="right")
    table.add_column(f"{bootstrap.PERCENT} %\ninterval", justify="right")
    return table


def _cells(
    first: ImageConfusions, of_first: str, second: ImageConfusions, of_second: str
) -> list[str | Text]:
    """Both scores, their difference and its interval; in bold if 0 is outside of the interval."""
    score = mean_iou(first.totals[of_first])
    other_score = mean_iou(second.totals[of_second])
    ends = bootstrap.interval(second.resampled[of_second] - first.resampled[of_first])
    style = "bold" if ends[0] > 0 or ends[1] < 0 else ""
    difference = other_score - score
    return [
        _percent(score),
        _percent(other_score),
        Text("-" if np.isnan(difference) else f"{100 * difference:+.1f}", style),
        interval_text(ends, signed=True),
    ]


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"
