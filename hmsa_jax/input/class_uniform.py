"""Class-uniform sampling: a share of the crops shows the classes equally often.

The paper samples "equally from each class, which helps improve results when there is unequal data
distribution" (section 5.1, after its reference [29]). A class-uniform crop draws a class, then one
of its centroids, and is placed so that it holds this pixel; a plain crop takes the next image.
"""

import dataclasses
import fractions

import grain
import numpy as np

from hmsa_jax.input.centroids import Centroids

DRAWN = -1  # in place of a record's index: the crop is class-uniform and draws its record


@dataclasses.dataclass(frozen=True)
class ClassUniform:
    """Which crops are class-uniform, and what they hold.

    An epoch is as many crops as there are records. Class-uniform crops lie evenly between the plain
    ones, which go through all records before any comes again, as they do without the others.

    Attributes:
      centroids: of the records.
      share: how many of the crops are class-uniform, from 0 to 1.
      until_epoch: from the start of this epoch, counted from 0, all crops are plain; 0: they never
        are.
    """

    centroids: Centroids
    share: float
    until_epoch: int = 0

    def __post_init__(self):
        """Raises ValueError if a value is out of range."""
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"data.class_uniform_share: expected a number from 0 to 1, got {self.share}."
            )
        if self.until_epoch < 0:
            raise ValueError(
                f"data.class_uniform_until_epoch: expected 0 or more, got {self.until_epoch}."
            )
        if self.share and not len(self.centroids.occurring):
            raise ValueError(
                "data.class_uniform_share: expected labels with pixels of some class, got none;"
                " check the labels, or set it to 0."
            )

    def plain_position(self, position: int, records: int) -> int | None:
        """Where a crop stands among the plain ones.

        Args:
          position: of the crop among all, from 0 on without end.
          records: how many records there are.

        Returns:
          The number of plain crops before it; None if it is class-uniform itself.
        """
        before = self._count(position, records)
        if self._count(position + 1, records) > before:
            return None
        return position - before

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
        """Draws a class among those that occur, then one of its centroids, both uniformly.

        Args:
          rng: the source of chance; two numbers are drawn.

        Returns:
          The record, and row and column of the pixel that the crop is to hold.
        """
        places = self.centroids.of_class(rng.choice(self.centroids.occurring))
        record, row, column = map(int, places[rng.integers(len(places))])
        return record, (row, column)

    def _count(self, position: int, records: int) -> int:
        """How many of the crops before a position are class-uniform."""
        if self.until_epoch:
            position = min(position, self.until_epoch * records)
        share = fractions.Fraction(str(self.share))  # 0.3 is 3/10 here, and no rounding adds up
        return position * share.numerator // share.denominator


@dataclasses.dataclass(frozen=True)
class MixedOrder:
    """Maps each position to itself and the record that comes there, or `DRAWN`.

    Attributes:
      plain: the plain order of the records, without end.
      records: how many records there are.
      class_uniform: which positions are class-uniform.
    """

    plain: grain.MapDataset
    records: int
    class_uniform: ClassUniform

    def __call__(self, position: int, index: int) -> tuple[int, int]:
        del index  # of the plain order at this position, which lags behind by now
        plain = self.class_uniform.plain_position(int(position), self.records)
        return position, DRAWN if plain is None else self.plain[plain]
