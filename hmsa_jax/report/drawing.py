"""A figure as SVG: lines, curves, bars, dots and words, each placed in pixels.

It stands alone as a file, dark on white, and in a page, whose style sheet has other colours in the
dark: what is to follow says so by its class.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from hmsa_jax.report import templates

SERIES = ("#2e5c94", "#ce5c52", "#4f9a6a", "#b0842c", "#7a5ca8", "#5aa8b8", "#8a8f98")
_INK, _FAINT, _GRID = "#262c38", "#6e7684", "#e2e6ec"

Colour = int | str
"""The number of a series, or a colour such as '#ff0000'."""


class Drawing:
    """Collects what a figure shows, from the back to the front.

    Args:
      title: what it shows, for who does not see it; and its heading.
      width: pixels.
      height: pixels.
      is_headed: whether the title is drawn.
    """

    def __init__(self, title: str, width: float, height: float, *, is_headed: bool = True):
        self._title, self._size = title, (width, height)
        self._marks: list[dict[str, Any]] = []
        if is_headed:
            self.words(24, 30, title, size=17)

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: int = 13,
        is_faint: bool = False,
    ) -> None:
        """A line of text whose anchor, 'start', 'middle' or 'end', is at x."""
        colour = {"class": "faint", "fill": _FAINT} if is_faint else {"class": "ink"}
        place: dict[str, Any] = {"x": x, "y": y, "text-anchor": anchor, "font-size": size}
        self._add("text", place | colour, text=text)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], *, is_axis: bool = False
    ) -> None:
        """A thin line, of the grid or of an axis."""
        ends: dict[str, Any] = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
        kind, colour = ("axis", _FAINT) if is_axis else ("grid", _GRID)
        self._add("line", ends | {"class": kind, "stroke": colour})

    def curve(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """A line through points."""
        through = " ".join(f"{x:g},{y:g}" for x, y in points)
        line: dict[str, Any] = {"points": through, "fill": "none", "stroke-width": 1.8}
        self._add("polyline", line | _coloured("stroke", colour))

    def dot(self, place: tuple[float, float], colour: Colour, hint: str = "") -> None:
        """A small disc; the hint appears where the pointer rests."""
        disc: dict[str, Any] = {"cx": place[0], "cy": place[1], "r": 2.2}
        self._add("circle", disc | _coloured("fill", colour), hint=hint)

    def ring(self, place: tuple[float, float]) -> None:
        """A circle around a point."""
        outline = {"class": "outline", "stroke": _INK, "stroke-width": 1.4, "fill": "none"}
        self._add("circle", {"cx": place[0], "cy": place[1], "r": 6, **outline})

    def bar(
        self, x: float, y: float, width: float, height: float, colour: Colour, hint: str = ""
    ) -> None:
        """A filled rectangle; the hint appears where the pointer rests."""
        box: dict[str, Any] = {"x": x, "y": y, "width": width, "height": height}
        self._add("rect", box | _coloured("fill", colour), hint=hint)

    def to_svg(self) -> Markup:
        """The text of an SVG file, which a page takes over as it is."""
        width, height = (f"{length:g}" for length in self._size)
        return templates.render(
            "drawing.svg.jinja", title=self._title, width=width, height=height, marks=self._marks
        )

    def _add(
        self, shape: str, attributes: dict[str, Any], *, text: str | None = None, hint: str = ""
    ) -> None:
        written = {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in attributes.items()
        }
        self._marks.append({"shape": shape, "attributes": written, "text": text, "hint": hint})


def _coloured(attribute: str, colour: Colour) -> dict[str, Any]:
    if isinstance(colour, str):
        return {attribute: colour}
    number = colour % len(SERIES)
    shown = {"class": f"s{number}", "color": SERIES[number], attribute: "currentColor"}
    # There are as many colours as can be told apart; those after them are paler.
    return shown | ({"opacity": 0.45} if colour >= len(SERIES) else {})
