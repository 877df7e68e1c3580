"""A share of the places of an endless sequence, evenly spread and exactly counted."""

import dataclasses
import fractions
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Share:
    """Some of the places 0, 1, 2, ...: of the first n, always the share of n, rounded down.

    Attributes:
      share: how many of the places, from 0 to 1.
      until: from this place on, none; None: the share holds to the end.
    """

    share: float
    until: int | None = None

    @classmethod
    def until_epoch(cls, share: float, epoch: int, length: int) -> "Share":
        """The share up to an epoch of `length` places, as configs name it: 0 for no end."""
        return cls(share, epoch * length if epoch else None)

    def __contains__(self, place: int) -> bool:
        return self.count(place + 1) > self.count(place)

    def count(self, place: int) -> int:
        """How many of the places before this one are in the share."""
        if self.until is not None:
            place = min(place, self.until)
        share = fractions.Fraction(str(self.share))  # 0.3 is 3/10 here, and no rounding adds up
        return place * share.numerator // share.denominator

    def count_others(self, place: int) -> int:
        """How many of the places before this one are not."""
        return place - self.count(place)

    def within(self, count: Callable[[int], int]) -> "Share":
        """The same share of a part of the places, until the same moment.

        Args:
          count: how many places of the part are before a place of the whole.

        Returns:
          A share of the places 0, 1, 2, ... of the part.
        """
        return Share(self.share, None if self.until is None else count(self.until))


def check(prefix: str, share: float, until_epoch: int) -> None:
    """Raises ValueError, naming the field `prefix` + 'share' or 'until_epoch', if out of range."""
    if not 0 <= share <= 1:
        raise ValueError(f"{prefix}share: expected a number from 0 to 1, got {share}.")
    if until_epoch < 0:
        raise ValueError(f"{prefix}until_epoch: expected 0 or more, got {until_epoch}.")
