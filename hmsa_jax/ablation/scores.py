"""What the networks reach on the same images, over several seeds."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions


@dataclasses.dataclass(frozen=True)
class Figure:
    """A mean IoU, or a difference of two, over seeds; fractions.

    Attributes:
      by_seed: seed -> its value.
      ends: of the interval of the mean over seeds; NaN if it is not known.
    """

    by_seed: Mapping[int, float]
    ends: tuple[float, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def deviation(self) -> float:
        """The standard deviation over seeds; NaN of one."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


Side = tuple[str, str]
"""A network, and a protocol as in `evaluate.protocols`."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """The evaluations of all networks.

    Attributes:
      runs: network -> seed -> its counts; all of the same images in the same order.
    """

    runs: Mapping[str, Mapping[int, ImageConfusions]]

    def seeds(self, *sides: Side) -> list[int]:
        """The seeds with which all of some sides are scored."""
        return sorted(set.intersection(*map(self._seeds_of, sides)))

    def of(self, side: Side, seeds: Sequence[int]) -> Figure:
        """The mean IoU of a side over seeds, at least one, with which it is scored."""
        means = {seed: mean_iou(self._run(side, seed).totals[_name(side)]) for seed in seeds}
        return Figure(means, _ends([self._samples(side, seed) for seed in seeds]))

    def difference(self, first: Side, second: Side, seeds: Sequence[int]) -> Figure:
        """What a second side reaches beyond a first, over seeds that both have.

        Its interval is of images and seeds drawn together: for each resample the same images and
        the same seeds of both sides.
        """
        low, high = (self.of(side, seeds).by_seed for side in (first, second))
        samples = [self._samples(second, seed) - self._samples(first, seed) for seed in seeds]
        return Figure({seed: high[seed] - low[seed] for seed in seeds}, _ends(samples))

    def _seeds_of(self, side: Side) -> set[int]:
        runs = self.runs.get(side[0], {})
        return {seed for seed, counts in runs.items() if _name(side) in counts.protocols}

    def _run(self, side: Side, seed: int) -> ImageConfusions:
        return self.runs[side[0]][seed]

    def _samples(self, side: Side, seed: int) -> np.ndarray:
        return self._run(side, seed).resampled[_name(side)]


def _name(side: Side) -> str:
    return protocol_lib.parse(side[1]).name


def _ends(samples: Sequence[np.ndarray]) -> tuple[float, float]:
    return bootstrap.interval(bootstrap.mean_over_runs(np.stack(samples)))
