"""Which places of an endless mixture its second part takes: evenly spread, exactly counted.

Grain mixes data sets, too (`grain.MapDataset.mix`), with weights that hold to the end. Here a part
may end with an epoch, the others go on where they were, and a count says how far each of them is:
so that class-uniform crops, the pool and a resumed run agree.
"""

import dataclasses
import fractions
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Mixture:
    """The second part takes, of the first n places 0, 1, 2, ..., always its share, rounded down.

    Attributes:
      share: of the second part, from 0 to 1.
      until: from this place on it takes none; None: it goes on without end.
    """

    share: float
    until: int | None = None

    @classmethod
    def until_epoch(cls, share: float, epoch: int, length: int) -> "Mixture":
        """The mixture up to an epoch of `length` places, as configs name it: 0 for no end."""
        return cls(share, epoch * length if epoch else None)

    def __contains__(self, place: int) -> bool:
        return self.count(place + 1) > self.count(place)

    def count(self, place: int) -> int:
        """How many of the places before this one the second part takes."""
        if self.until is not None:
            place = min(place, self.until)
        share = fractions.Fraction(str(self.share))  # 0.3 is 3/10 here, and no rounding adds up
        return place * share.numerator // share.denominator

    def count_others(self, place: int) -> int:
        """How many of the places before this one the first part takes."""
        return place - self.count(place)

    def within(self, count: Callable[[int], int]) -> "Mixture":
        """The same mixture in a part of the places, until the same moment.

        Args:
          count: how many places of the part are before a place of the whole.

        Returns:
          A mixture in the places 0, 1, 2, ... of the part.
        """
        return Mixture(self.share, None if self.until is None else count(self.until))


def check(prefix: str, share: float, until_epoch: int) -> None:
    """Raises ValueError, naming the field `prefix` + 'share' or 'until_epoch', if out of range."""
    if not 0 <= share <= 1:
        raise ValueError(f"{prefix}share: expected a number from 0 to 1, got {share}.")
    if until_epoch < 0:
        raise ValueError(f"{prefix}until_epoch: expected 0 or more, got {until_epoch}.")
