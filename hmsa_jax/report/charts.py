"""The charts of all figures and pages: curves, bars, shares of a whole, reliability."""

import dataclasses
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from hmsa_jax.report.drawing import Colour, Drawing

# Pixels.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 640, 62, 616, 50, 320, 20
_BAR, _GROUP = 9, 10  # a bar of several in a row, and the room between rows
_SHARE = 26  # a row of one bar
_CHARACTER, _MOST_CHARACTERS = 7.2, 34  # the width of one, on average, and those of a name
_MOST_POINTS, _MOST_DOTS = 400, 40  # of a curve

Curve = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of `bars` or `shares`.

    Attributes:
      name: stands on its left.
      values: one for each entry of the key, percent; NaN for one that there is not.
      note: stands on its right.
    """

    name: str
    values: Sequence[float]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A row of `intervals`.

    Attributes:
      name: stands on its left.
      mean: the figure.
      ends: of its interval; NaN where there is none.
      points: the single values that the figure is the mean of.
      note: stands on its right.
    """

    name: str
    mean: float
    ends: tuple[float, float]
    points: Sequence[float] = ()
    note: str = ""


def lines(
    title: str,
    curves: Mapping[str, Curve],
    *,
    best: tuple[float, float] | None = None,
    from_zero: bool = False,
) -> Markup:
    """A curve for each name, by step.

    Args:
      title: with the unit.
      curves: name -> its (step, value), in the order of the steps, of at least one.
      best: a point that is marked as the best.
      from_zero: whether the axis begins at 0, as that of percents does.

    Returns:
      The text of an SVG file. The key has the curves in the order of their last values.
    """
    points = [point for curve in curves.values() for point in curve]
    steps = ticks(0, max(step for step, _ in points) or 1, smallest=1)
    values = ticks(0 if from_zero else min(v for _, v in points), max(v for _, v in points))
    last_step = max(steps[-1], max(step for step, _ in points))
    low, high = min(values[0], min(v for _, v in points)), max(values[-1], *(v for _, v in points))
    by_last = sorted(curves, key=lambda name: curves[name][-1][1], reverse=True)
    key = [f"{name}: {short(curves[name][-1][1])}" for name in by_last]
    rows = len(key) + (best is not None)
    drawing = Drawing(title, _WIDTH, _BOTTOM + 38 + _ROW * rows)

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + step / last_step * (_RIGHT - _LEFT)
        return round(x, 1), round(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP), 1)

    for value in values:
        y = place(0, value)[1]
        drawing.line((_LEFT, y), (_RIGHT, y), is_axis=value == values[0])
        drawing.words(_LEFT - 10, y + 4, f"{value:g}", anchor="end", size=11, is_faint=True)
    for step in steps:
        x = place(step, low)[0]
        drawing.words(x, _BOTTOM + 18, f"{step:.0f}", anchor="middle", size=11, is_faint=True)
    for number, (name, curve) in enumerate(curves.items()):
        placed = [place(*point) for point in _thinned(curve)]
        drawing.curve(placed, number)
        if len(placed) <= _MOST_DOTS:
            for (step, value), point in zip(curve, placed, strict=True):
                drawing.dot(point, number, f"{name}, step {step:.0f}: {short(value)}")
    numbers = [list(curves).index(name) for name in by_last]
    _key(drawing, _BOTTOM + 46, zip(key, numbers, strict=True))
    if best is not None:
        y = _BOTTOM + 46 + _ROW * len(key)
        drawing.ring(place(*best))
        drawing.ring((_LEFT + 9, y - 5))
        drawing.words(_LEFT + 28, y, f"best: {short(best[1])}, step {best[0]:.0f}")
    return drawing.to_svg()


def bars(title: str, key: Sequence[str], rows: Sequence[Row]) -> Markup:
    """For each row a bar for each entry of the key, from 0 to 100 percent.

    Args:
      title: what the bars are.
      key: names of the bars of a row.
      rows: from the top.

    Returns:
      The text of an SVG file.
    """
    height = _BAR * len(key) + _GROUP
    scale = _Percents(title, rows, height, list(zip(key, range(len(key)), strict=True)))
    for number, row in enumerate(rows):
        top = scale.top + height * number + _GROUP / 2
        scale.name(row, top + _BAR * len(key) / 2 + 4)
        for i, (name, value) in enumerate(zip(key, row.values, strict=True)):
            if not math.isnan(value):
                hint = f"{row.name}, {name}: {value:.1f} %"
                scale.bar(0, value, (top + _BAR * i, _BAR - 2), i, hint)
    return scale.drawing.to_svg()


def shares(title: str, key: Mapping[str, Colour], rows: Sequence[Row]) -> Markup:
    """For each row one bar, whose pieces are its values, one after the other.

    Args:
      title: what they are shares of.
      key: what the pieces are -> their colours.
      rows: from the top.

    Returns:
      The text of an SVG file.
    """
    scale = _Percents(title, rows, _SHARE, list(key.items()))
    for number, row in enumerate(rows):
        top = scale.top + _SHARE * number + 4
        scale.name(row, top + 13)
        begin = 0.0
        for (name, colour), value in zip(key.items(), row.values, strict=True):
            if value > 0:
                hint = f"{row.name}, {name}: {value:.1f} %"
                scale.bar(begin, begin + value, (top, 17), colour, hint)
                begin += value
    return scale.drawing.to_svg()


def intervals(title: str, rows: Sequence[Interval], *, has_zero: bool = False) -> Markup:
    """For each row its interval as a line, its mean as a ring and its points as dots.

    Args:
      title: what the figures are.
      rows: from the top, at least one.
      has_zero: whether 0 is on the scale, with a line through it.

    Returns:
      The text of an SVG file.
    """
    known = [v for row in rows for v in (row.mean, *row.ends, *row.points) if not math.isnan(v)]
    known += [0.0] if has_zero else []
    values = ticks(min(known), max(known), 0.1)
    low, high = min(values[0], *known), max(values[-1], *known)
    names, notes = (
        max(_length(_shortened(t)) for t in texts) * _CHARACTER
        for texts in ([row.name for row in rows], [row.note for row in rows])
    )
    left, right = 16 + names + 12, _WIDTH - 24 - notes - (12 if notes else 0)
    bottom = _TOP + _SHARE * len(rows) + 4
    drawing = Drawing(title, _WIDTH, bottom + 26)

    def across(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    for tick in values:
        x = across(tick)
        drawing.line((x, _TOP), (x, bottom), is_axis=has_zero and tick == 0)
        drawing.words(x, bottom + 16, short(tick), anchor="middle", size=11, is_faint=True)
    for number, row in enumerate(rows):
        y = _TOP + _SHARE * (number + 0.5)
        drawing.words(left - 12, y + 4, _shortened(row.name), anchor="end")
        drawing.words(right + 12, y + 4, row.note, size=12)
        if not math.isnan(row.ends[0]):
            drawing.curve([(across(end), y) for end in row.ends], 0)
        for point in row.points:
            drawing.dot((across(point), y), 1, f"{row.name}: {point:.1f}")
        drawing.ring((across(row.mean), y))
    return drawing.to_svg()


def reliability(title: str, curves: Mapping[str, Curve]) -> Markup:
    """Accuracy by confidence, both in percent, beside the diagonal on which both are equal.

    Args:
      title: what is drawn.
      curves: name -> its (confidence, accuracy).

    Returns:
      The text of an SVG file.
    """
    side, top = 360, _TOP + 16
    left, bottom = (_WIDTH - side) / 2, top + side
    drawing = Drawing(title, _WIDTH, bottom + 60 + _ROW * len(curves))

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        part_x, part_y = confidence / 100, accuracy / 100
        return round(left + part_x * side, 1), round(bottom - part_y * side, 1)

    for percent in (0, 25, 50, 75, 100):
        for start, end in (((0, percent), (100, percent)), ((percent, 0), (percent, 100))):
            drawing.line(place(*start), place(*end), is_axis=percent == 0)
        x, y = place(percent, percent)
        drawing.words(left - 10, y + 4, f"{percent}", anchor="end", size=11, is_faint=True)
        drawing.words(x, bottom + 18, f"{percent}", anchor="middle", size=11, is_faint=True)
    drawing.line(place(0, 0), place(100, 100), is_axis=True)
    drawing.words(left - 32, top - 14, "right, %", size=12, is_faint=True)
    drawing.words(left + side, bottom + 36, "confidence, %", anchor="end", size=12, is_faint=True)
    for number, (name, curve) in enumerate(curves.items()):
        drawing.curve([place(*point) for point in curve], number)
        for point in curve:
            hint = f"{name}: {point[1]:.1f} % right at a confidence of {point[0]:.1f} %"
            drawing.dot(place(*point), number, hint)
    _key(drawing, bottom + 64, zip(curves, range(len(curves)), strict=True))
    return drawing.to_svg()


class _Percents:
    """A drawing with a key and below it a scale of percents, names on its left, notes on its right.

    Attributes:
      drawing: on which bars are drawn.
      top: where the first row begins.
    """

    def __init__(
        self,
        title: str,
        rows: Sequence[Row],
        height: float,
        key: Sequence[tuple[str, Colour]],
    ):
        names, notes = (
            max((_length(text) for text in texts), default=0)
            for texts in ([_shortened(row.name) for row in rows], [row.note for row in rows])
        )
        self._left = 16 + max(names * _CHARACTER, 52)
        self._right = _WIDTH - 24 - notes * _CHARACTER
        self.top = _TOP + _ROW * len(key) + 6
        bottom = self.top + height * len(rows) + 4
        self.drawing = Drawing(title, _WIDTH, bottom + 26)
        _key(self.drawing, _TOP + 4, key)
        for percent in (0, 25, 50, 75, 100):
            x = self._across(percent)
            self.drawing.line((x, self.top), (x, bottom), is_axis=percent in (0, 100))
            self.drawing.words(
                x, bottom + 16, f"{percent} %", anchor="middle", size=11, is_faint=True
            )

    def name(self, row: Row, y: float) -> None:
        """Writes what stands beside the bars of a row, at this height."""
        self.drawing.words(self._left - 10, y, _shortened(row.name), anchor="end")
        self.drawing.words(self._right + 18, y, row.note, size=12)

    def bar(
        self, begin: float, end: float, rows: tuple[float, float], colour: Colour, hint: str
    ) -> None:
        """Draws a bar between two percents; `rows` are its top and its height."""
        x = self._across(begin)
        width = max(round(self._across(end) - x, 1), 0.5)
        self.drawing.bar(x, rows[0], width, rows[1], colour, hint)

    def _across(self, percent: float) -> float:
        return round(self._left + percent / 100 * (self._right - self._left), 1)


def _shortened(name: str) -> str:
    """A name, or its beginning where it is so long that little is left for the bars."""
    if _length(name) <= _MOST_CHARACTERS:
        return name
    while _length(name) >= _MOST_CHARACTERS:
        name = name[:-1]
    return f"{name}…"


def _length(text: str) -> int:
    """Characters of usual width; one of Chinese or Japanese takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def legend(names: Sequence[str], palette: Sequence[tuple[int, int, int]]) -> Markup:
    """The classes in their colours, a line each.

    Args:
      names: of the classes.
      palette: RGB of each.

    Returns:
      The text of an SVG file, in which names of any script are written.
    """
    drawing = Drawing("Classes", _WIDTH, _TOP + _ROW * len(names), is_headed=False)
    entries = [
        (name, f"#{r:02x}{g:02x}{b:02x}") for name, (r, g, b) in zip(names, palette, strict=True)
    ]
    _key(drawing, _ROW + 5, entries)
    return drawing.to_svg()


def _key(drawing: Drawing, y: float, entries: Iterable[tuple[str, Colour]]) -> None:
    """What the colours mean, a line each."""
    for number, (text, colour) in enumerate(entries):
        drawing.bar(_LEFT, y + _ROW * number - 9, 18, 9, colour)
        drawing.words(_LEFT + 28, y + _ROW * number, text)


def ticks(low: float, high: float, smallest: float = 0) -> list[float]:
    """About five numbers from `low` to `high` or around, 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        low, high = (0.0, high) if high > 0 else (low, low + 1)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= 0.999 * rough)
    apart = max(apart, smallest)
    first = math.floor(low / apart + 1e-9)
    count = math.floor((high - first * apart) / apart + 1e-9)
    return [round((first + i) * apart, 15) for i in range(count + 1)]


def _thinned(curve: Curve) -> Curve:
    """Some points of a curve that has more than can be seen; the last one among them."""
    apart = -(-len(curve) // _MOST_POINTS)
    return curve if apart == 1 else [*curve[:-1:apart], curve[-1]]


def short(value: float) -> str:
    """A value in few digits."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:z.3g}"
