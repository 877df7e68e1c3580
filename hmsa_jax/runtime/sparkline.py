"""A curve in the characters of a line."""

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.-=+*#@"  # where the encoding lacks those
_LONGEST = 20  # characters


def sparkline(values: Sequence[float], encoding: str) -> str:
    """The last values from the lowest to the highest, a character each; '' for fewer than two.

    Args:
      values: finite, in order.
      encoding: of where it appears.

    >>> sparkline([10, 40, 30, 45], "utf-8")
    '▁▇▅█'
    >>> sparkline([10, 40, 30, 45], "ascii")
    '_#+@'
    """
    shown = values[-_LONGEST:]
    if len(shown) < 2:
        return ""
    try:
        _BLOCKS.encode(encoding)
        levels = _BLOCKS
    except UnicodeEncodeError:
        levels = _PLAIN
    lowest, span = min(shown), max(shown) - min(shown)
    parts = [(value - lowest) / span if span else 0.5 for value in shown]
    return "".join(levels[round(part * (len(levels) - 1))] for part in parts)
