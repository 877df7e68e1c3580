"""How long a training is, in steps and in epochs, and what comes every so often in it."""

import dataclasses
import math
import re
from fractions import Fraction

EXPECTED = "a whole number of steps, 0 or more, or epochs like '5 epochs'"

_MOST = 10**9  # steps, or epochs


def parse(value: int | str) -> tuple[Fraction, bool]:
    """Reads the field `evaluate.every`.

    Returns:
      A number, and whether it is one of epochs rather than of steps.

    Raises:
      ValueError: the value stands for neither.

    >>> parse(100)
    (Fraction(100, 1), False)
    >>> parse("0.5 epochs")
    (Fraction(1, 2), True)
    """
    if type(value) is int and 0 <= value <= _MOST:
        return Fraction(value), False
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) epochs?", value) if type(value) is str else None
    if not match or not Fraction(match[1]):
        raise ValueError(f"{value!r}; expected {EXPECTED}")
    return Fraction(match[1]), True


@dataclasses.dataclass(frozen=True)
class Length:
    """How far a training goes.

    Attributes:
      steps: the number of the last step.
      images: of the train split; an epoch is as many crops.
      batch_size: crops of a step.
    """

    steps: int
    images: int
    batch_size: int

    @classmethod
    def of_epochs(cls, epochs: float, images: int, batch_size: int) -> "Length":
        """As many whole steps as the epochs hold.

        Raises:
          ValueError: they hold none.

        >>> Length.of_epochs(175, 2975, 16).steps
        32539
        """
        steps = math.floor(Fraction(repr(epochs)) * images / batch_size)
        if not steps:
            raise ValueError(
                f"epochs is {epochs:g}, which is less than a step: an epoch is the {images} images"
                f" of data.train_split, and a step takes data.batch_size={batch_size}"
            )
        return cls(steps, images, batch_size)

    @property
    def epoch(self) -> Fraction:
        """Steps of an epoch."""
        return Fraction(self.images, self.batch_size)

    def period(self, every: int | str) -> Fraction:
        """Steps from one time to the next, of what comes as `evaluate.every` says; 0 for never.

        Raises:
          ValueError: it is less than a step.
        """
        number, is_of_epochs = parse(every)
        period = number * self.epoch if is_of_epochs else number
        if 0 < period < 1:
            raise ValueError(
                f"evaluate.every is {every!r}, which is less than a step: an epoch of"
                f" {self.images} images has {float(self.epoch):.3g} steps"
            )
        return period

    def describe(self, every: int | str) -> str:
        """For a user: in both units the length, and how often there is an evaluation."""
        text = (
            f"The training has {self._in_both_units(Fraction(self.steps))} of {self.images} images"
        )
        period = self.period(every)
        return (
            f"{text}, and an evaluation every {self._in_both_units(period)}."
            if period
            else f"{text}."
        )

    def _in_both_units(self, steps: Fraction) -> str:
        return f"{float(steps):.6g} steps, {float(steps / self.epoch):.4g} epochs"


def is_due(step: int, period: Fraction) -> bool:
    """Whether what comes once in a period comes after this step: it is the first that ends one.

    >>> [step for step in range(1, 11) if is_due(step, Fraction(5, 2))]
    [3, 5, 8, 10]
    """
    return period > 0 and step // period > (step - 1) // period
