"""Mean IoU side by side, with the paired interval of the difference: of two runs, or of one."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import rich.table
from rich.text import Text

from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report.results import interval_text


@dataclasses.dataclass(frozen=True)
class Difference:
    """What a second protocol, or run, reaches beyond a first, on the same images.

    Attributes:
      names: of what is compared: a protocol, or two.
      first: mean IoU of the first, a fraction; NaN if there is none.
      second: of the second.
      ends: of the interval of the difference; NaN if it is not known.
    """

    names: tuple[str, ...]
    first: float
    second: float
    ends: tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.ends[0] > 0 or self.ends[1] < 0

    def cells(self) -> tuple[str, str, str, str]:
        """Both scores, their difference and its interval, in percent."""
        beyond = self.second - self.first
        return (
            _percent(self.first),
            _percent(self.second),
            "-" if np.isnan(beyond) else f"{100 * beyond:+z.1f}",
            interval_text(self.ends, signed=True),
        )


def of_runs(first: ImageConfusions, second: ImageConfusions) -> list[Difference]:
    """Of each protocol that both have: what the second run reaches beyond the first.

    Args:
      first: of one run.
      second: of another, with the same images in the same order.
    """
    return [
        _difference((name,), first, name, second, name)
        for name in first.protocols
        if name in second.protocols
    ]


def of_protocols(confusions: ImageConfusions) -> list[Difference]:
    """Of each pair of protocols: what the second one reaches beyond the first."""
    return [
        _difference((first, second), confusions, first, confusions, second)
        for first, second in itertools.combinations(confusions.protocols, 2)
    ]


def to_table(
    differences: Sequence[Difference], title: str, names: Sequence[str], scores: Sequence[str]
) -> rich.table.Table:
    """A row for each difference, in bold if it is clear.

    Args:
      differences: from `of_runs` or `of_protocols`.
      title: of the table.
      names: headings of what is compared.
      scores: headings of both scores.
    """
    table = rich.table.Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name)
    for score in scores:
        table.add_column(f"{score},\nmIoU %", justify="right")
    table.add_column("difference", justify="right")
    table.add_column(f"{bootstrap.PERCENT} %\ninterval", justify="right")
    for difference in differences:
        first, second, beyond, ends = difference.cells()
        bold = Text(beyond, "bold" if difference.is_clear else "")
        table.add_row(*difference.names, first, second, bold, ends)
    return table


def _difference(
    names: tuple[str, ...],
    first: ImageConfusions,
    of_first: str,
    second: ImageConfusions,
    of_second: str,
) -> Difference:
    return Difference(
        names,
        mean_iou(first.totals[of_first]),
        mean_iou(second.totals[of_second]),
        bootstrap.interval(second.resampled[of_second] - first.resampled[of_first]),
    )


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:z.1f}"
