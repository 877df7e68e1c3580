"""What a field of an experiment is, and the kinds of values that fields hold."""

import ast
import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a field may hold.

    Attributes:
      accepts: whether a value is possible. It may raise where a value is of another type.
      words: what is possible, to be read after "expected". A function returns the words where they
        depend on a registry, so that a name registered later is among them.
      read: returns the value that a text of the command line stands for, whether that is possible
        or not, and raises ValueError if the text stands for none.
      is_path: whether text other than '' is a path.
      is_remote: whether that may lie in a bucket.
      is_of_one_type: whether all possible values are of the type of the default.
    """

    accepts: Callable[[Any], bool]
    words: str | Callable[[], str]
    read: Callable[[str], Any]
    is_path: bool = False
    is_remote: bool = False
    is_of_one_type: bool = True


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of an experiment.

    Attributes:
      default: its value in configs/base.py, the paper's where the paper names one.
      kind: what it may hold.
      meaning: what it does, in sentences; the first one stands alone in lists.
      free: whether a run may go on, be evaluated or be used with another value, because what
        training computes does not depend on it.
      before: what runs did that are older than the field, whose configs lack it; None for a field
        that all runs have.
    """

    default: Any
    kind: Kind
    meaning: str
    free: bool = False
    before: Any = None

    @property
    def expected(self) -> str:
        """What the field may hold, in words."""
        words = self.kind.words
        return words if isinstance(words, str) else words()

    @property
    def is_path(self) -> bool:
        """Whether text other than '' is a path."""
        return self.kind.is_path

    def allows(self, value: Any) -> bool:
        """Whether a value, of whatever type, is possible."""
        try:
            return bool(self.kind.accepts(value))
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return False


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number. True and False are none."""
    return type(value) is int


def is_number(value: Any) -> bool:
    """Whether a value is a finite number. True and False are none."""
    return type(value) in (int, float) and math.isfinite(value)


def whole(lowest: int, highest: int = 10**9) -> Kind:
    """Whole numbers from the lowest to the highest."""
    return Kind(
        lambda v: is_whole(v) and lowest <= v <= highest,
        f"a whole number from {lowest} to {highest}",
        int,
    )


def number(words: str, accepts: Callable[[float], bool]) -> Kind:
    """Finite numbers that a condition holds for."""
    return Kind(lambda v: is_number(v) and accepts(v), words, float)


def flag() -> Kind:
    """True or False."""
    return Kind(lambda v: isinstance(v, bool), "True or False", _read_flag)


def text(
    words: str | Callable[[], str] = "a string", accepts: Callable[[str], bool] = lambda text: True
) -> Kind:
    """Strings that a condition holds for."""
    return Kind(lambda v: isinstance(v, str) and accepts(v), words, str)


def path(*, required: bool = False, remote: bool = False) -> Kind:
    """Paths of this machine, if `remote` also of buckets, and '' unless one is required."""
    words = "a directory" if required else "a directory, or '' for none"
    kind = text(words, lambda v: bool(v) or not required)
    return dataclasses.replace(kind, is_path=True, is_remote=remote)


def one_of(options: Callable[[], Iterable[str]]) -> Kind:
    """The names that a registry has whenever it is asked."""
    return Kind(lambda v: v in tuple(options()), lambda: f"one of {tuple(options())}", str)


def tuple_of(
    read: Callable[[str], Any],
    words: str | Callable[[], str],
    accepts: Callable[[tuple], bool],
    *,
    separator: str = ",",
) -> Kind:
    """Tuples that a condition holds for.

    Args:
      read: as in `Kind`, for each item.
      words: as in `Kind`.
      accepts: the condition. Items may be of any type when it is asked.
      separator: regular expression for what stands between two items on the command line.
    """
    return Kind(
        lambda v: isinstance(v, tuple) and accepts(v),
        words,
        lambda text: tuple(map(read, _items(text, separator))),
    )


def _read_flag(text: str) -> bool:
    values = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if text.lower() not in values:
        raise ValueError
    return values[text.lower()]


def _items(text: str, separator: str) -> list[str]:
    """The items of a tuple written as in Python, `(0.5, 1)`, or without quotes, `0.5,1`."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pieces = re.split(separator, text)
        return [piece.strip() for piece in pieces if piece.strip()]
    return [str(item) for item in (value if isinstance(value, (tuple, list)) else (value,))]
