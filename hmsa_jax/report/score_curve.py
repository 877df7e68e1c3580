"""A figure of the mean IoU of each protocol by step, as SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence

from hmsa_jax.report import svg

# Pixels. The key stands on the right of the curves.
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 900, 60, 610, 58, 388, 26
_TITLE = "Mean IoU by step, %"
_COLOURS = ("#2e5c94", "#ce5c52", "#4f9a6a", "#b0842c", "#7a5ca8", "#5aa8b8", "#8a8f98")

Curve = Sequence[tuple[int, float]]


def to_svg(curves: Mapping[str, Curve], best: tuple[int, float] | None = None) -> str:
    """Draws a curve for each protocol.

    Args:
      curves: protocol -> its (step, percent), of at least one.
      best: step and percent of the best checkpoint, which is marked.

    Returns:
      The text of an SVG file. The key has the curves in the order of their last values.
    """
    last_step = max(step for curve in curves.values() for step, _ in curve)
    ceiling = _ceiling(value for curve in curves.values() for _, value in curve)

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + step / last_step * (_RIGHT - _LEFT)
        return round(x, 1), round(_BOTTOM - value / ceiling * (_BOTTOM - _TOP), 1)

    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(curves)}
    by_last = sorted(curves, key=lambda name: curves[name][-1][1], reverse=True)
    return svg.render(
        "score_curve.svg.jinja",
        title=_TITLE,
        width=_WIDTH,
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
        percents=[
            {"y": place(0, part * ceiling)[1], "text": f"{part * ceiling:g}"}
            for part in (0, 0.25, 0.5, 0.75, 1)
        ],
        steps=[{"x": place(step, 0)[0], "text": f"{step}"} for step in _ticks(last_step)],
        curves=[
            {
                "colour": colours[name],
                "points": " ".join(f"{x},{y}" for x, y in (place(*point) for point in curve)),
                "dots": [place(*point) for point in curve],
            }
            for name, curve in curves.items()
        ],
        key=[
            {
                "y": _TOP + _ROW * i + 6,
                "text": f"{name}: {curves[name][-1][1]:.1f}",
                "colour": colours[name],
            }
            for i, name in enumerate(by_last)
        ],
        best=None
        if best is None
        else {"place": place(*best), "text": f"best: {best[1]:.1f}, step {best[0]}"},
        best_y=_TOP + _ROW * len(curves) + 18,
    )


def _ceiling(values: Iterable[float]) -> float:
    """The next multiple of 20 percent, so that quarters of it are whole."""
    return max(20.0, 20.0 * math.ceil(max(values) / 20))


def _ticks(last: int) -> list[int]:
    """About five steps from 0 on that are 1, 2 or 5 times a power of ten apart."""
    rough = last / 5
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    apart = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= rough)
    return list(range(0, last + 1, apart))
