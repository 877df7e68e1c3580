"""A figure of the memory that steps take on their targets, as SVG."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hmsa_jax.report import charts
from hmsa_jax.report.backends import peak_and_limit
from hmsa_jax.report.drawing import Colour

_TITLE = "Memory on one device, as a fraction of its limit"
_KEY: Mapping[str, Colour] = {
    "arguments": "#2e5c94",
    "temporaries": "#68a4d6",
    "outputs in memory of their own": "#b0cdaa",
    "does not fit": "#ce5c52",
}
_BEYOND = 102.5  # percent of the limit: where a bar ends that does not fit


def to_svg(rows: Iterable[Mapping[str, Any]]) -> str:
    """Draws the memory of each row against the limit of its device.

    Args:
      rows: as `experiment.compile_report` returns them; those without `memory` are left out.

    Returns:
      The text of an SVG file.
    """
    bars = [
        charts.Row(f"{row['target']} {row['step']}", _percents(row), peak_and_limit(row))
        for row in rows
        if "memory" in row
    ]
    return charts.shares(_TITLE, _KEY, bars)


def _percents(row: Mapping[str, Any]) -> Sequence[float]:
    """The pieces of a row's bar, in the order of the key."""
    memory = row["memory"]
    if row["status"] != "fits":
        return (0, 0, 0, _BEYOND)
    arguments, temporaries = memory["arguments"], memory["temporaries"]
    sizes = (arguments, temporaries, memory["peak"] - arguments - temporaries)
    return (*(100 * max(size, 0) / memory["limit"] for size in sizes), 0)
