"""A chart of figures by cost, of which some are worth theirs."""

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup

from hmsa_jax.report import charts
from hmsa_jax.report.drawing import Drawing

# Pixels.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 640, 62, 616, 50, 320, 20
_NAMES = _BOTTOM + 46
_TICKS = (1, 1.5, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)  # of costs
_PALE = "#b9bfc9"


@dataclasses.dataclass(frozen=True)
class Point:
    """A figure and its cost.

    Attributes:
      name: of what it is.
      cost: above 0.
      figure: what is reached.
      ends: of its interval; NaN where there is none.
    """

    name: str
    cost: float
    figure: float
    ends: tuple[float, float]

    @property
    def hint(self) -> str:
        """What appears where the pointer rests."""
        return f"{self.name}: {self.figure:.1f} at {self.cost:.2f}"

    @property
    def values(self) -> list[float]:
        """All of it that is to be seen."""
        return [value for value in (self.figure, *self.ends) if not math.isnan(value)]


def front(
    title: str, kept: Sequence[Point], named: Sequence[Point], others: Sequence[Point], note: str
) -> Markup:
    """Figures by cost: those worth their cost on a line, each with its interval and a number.

    Args:
      title: what the figures and the costs are.
      kept: worth their cost, the cheapest first, at least one.
      named: others that have a name.
      others: all else, as dots; those far below all of the above are left out, which is told.
      note: what the intervals are.

    Returns:
      The text of an SVG file. The axis of costs is logarithmic; below it stand the names.
    """
    shown = [*kept, *named]
    values = [value for point in shown for value in point.values]
    lowest, highest = min(values), max(values)
    is_near = [point.figure > 2 * lowest - highest for point in others]
    near = [point for point, is_it in zip(others, is_near, strict=True) if is_it]
    axes = _Axes(title, [*shown, *near], rows=len(shown) + 1)
    for point in near:
        axes.drawing.dot(axes.place(point.cost, point.figure), _PALE, point.hint)
    axes.drawing.curve([axes.place(point.cost, point.figure) for point in kept], 0)
    for number, point in enumerate(shown):
        axes.draw(point, number, 0 if number < len(kept) else 1)
    hidden = len(others) - len(near)
    note += f"; {hidden} more lie below" if hidden else ""
    axes.drawing.words(_LEFT, _NAMES + _ROW * len(shown), note, size=12, is_faint=True)
    return axes.drawing.to_svg()


class _Axes:
    """A drawing with figures from bottom to top, costs from left to right, and names below.

    Attributes:
      drawing: on which points are drawn.
    """

    def __init__(self, title: str, points: Sequence[Point], rows: int):
        values = [value for point in points for value in point.values]
        ticks = charts.ticks(min(values), max(values), 0.1)
        self._low, self._high = min(ticks[0], *values), max(ticks[-1], *values)
        costs = [point.cost for point in points]
        self._least, self._most = 0.95 * min(costs), 1.05 * max(costs)
        self.drawing = Drawing(title, _WIDTH, _NAMES + _ROW * rows)
        for tick in ticks:
            y = self.place(self._least, tick)[1]
            self.drawing.line((_LEFT, y), (_RIGHT, y), is_axis=tick == self._low)
            text = charts.short(tick)
            self.drawing.words(_LEFT - 10, y + 4, text, anchor="end", size=11, is_faint=True)
        for cost in _TICKS:
            if self._least <= cost <= self._most:
                x, y = self.place(cost, self._low)
                text = f"{cost:g}"
                self.drawing.words(x, y + 18, text, anchor="middle", size=11, is_faint=True)

    def place(self, cost: float, figure: float) -> tuple[float, float]:
        """Where a point lies, in pixels."""
        across = math.log(cost / self._least) / math.log(self._most / self._least)
        up = (figure - self._low) / (self._high - self._low)
        x, y = _LEFT + across * (_RIGHT - _LEFT), _BOTTOM - up * (_BOTTOM - _TOP)
        return round(x, 1), round(y, 1)

    def draw(self, point: Point, number: int, colour: int) -> None:
        """Draws a point with its interval and its number, and its name below."""
        x, y = self.place(point.cost, point.figure)
        if not math.isnan(point.ends[0]):
            self.drawing.curve([self.place(point.cost, end) for end in point.ends], colour)
        self.drawing.dot((x, y), colour, point.hint)
        self.drawing.words(x + 5, y - 6, str(number + 1), size=12)
        below = _NAMES + _ROW * number
        self.drawing.dot((_LEFT + 4, below - 4), colour)
        self.drawing.words(_LEFT + 28, below, str(number + 1), anchor="end")
        self.drawing.words(_LEFT + 40, below, point.hint)
