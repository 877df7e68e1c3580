"""A figure of the memory that steps take on their targets, as SVG."""

from collections.abc import Iterable, Mapping
from typing import Any

from hmsa_jax.report import svg
from hmsa_jax.report.backends import peak_and_limit

# Pixels. Labels stand on the left of the bars, figures on the right.
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 820, 165, 635, 58, 32
_BEYOND = 12  # of a bar that does not fit, past the limit
_CHARACTER = 6.1  # of the key's text, on average
_TITLE = "Memory on one device, as a fraction of its limit"
_COLOURS = {
    "arguments": "#2e5c94",
    "temporaries": "#68a4d6",
    "outputs in memory of their own": "#b0cdaa",
    "does not fit": "#ce5c52",
}


def to_svg(rows: Iterable[Mapping[str, Any]]) -> str:
    """Draws the memory of each row against the limit of its device.

    Args:
      rows: as `experiment.compile_report` returns them; those without `memory` are left out.

    Returns:
      The text of an SVG file.
    """
    rows = [row for row in rows if "memory" in row]
    return svg.render(
        "memory_figure.svg.jinja",
        title=_TITLE,
        width=_WIDTH,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_TOP + _ROW * len(rows) + 4,
        ticks=[{"x": _x(part), "text": f"{part:.0%}"} for part in (0, 0.25, 0.5, 0.75, 1)],
        rows=[
            {
                "y": _TOP + _ROW * i,
                "name": f"{row['target']} {row['step']}",
                "sizes": peak_and_limit(row),
                "bars": _bars(row),
            }
            for i, row in enumerate(rows)
        ],
        key=_key(),
    )


def _x(part: float) -> float:
    """Where a bar ends that takes this part of the limit."""
    return round(_LEFT + part * (_RIGHT - _LEFT), 1)


def _bars(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pieces of a row's bar, from left to right."""
    memory = row["memory"]
    if row["status"] != "fits":
        beyond = _RIGHT + _BEYOND - _LEFT
        return [{"x": _LEFT, "width": beyond, "colour": _COLOURS["does not fit"]}]
    arguments, temporaries = memory["arguments"], memory["temporaries"]
    ends = (arguments, arguments + temporaries, memory["peak"])
    bars, begin = [], _x(0)
    for colour, end in zip(_COLOURS.values(), ends, strict=False):
        width = round(_x(end / memory["limit"]) - begin, 1)
        if width > 0:
            bars.append({"x": begin, "width": width, "colour": colour})
            begin += width
    return bars


def _key() -> list[dict[str, Any]]:
    """What the colours mean, in a line below the bars."""
    entries, x = [], float(_LEFT)
    for text, colour in _COLOURS.items():
        entries.append({"x": round(x), "text": text, "colour": colour})
        x += 17 + _CHARACTER * len(text) + 22
    return entries
