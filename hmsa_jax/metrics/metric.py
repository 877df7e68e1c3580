"""What a metric is that an evaluation may compute besides the confusion matrices."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Truth:
    """The labels of a batch.

    Attributes:
      labels: uint8 `[B, H, W]`; a pixel whose label is not below `classes` is ignored, as is
        padding at the bottom and on the right.
      size: int32 `[B, 2]`, rows and columns of each image without padding.
      classes: number of classes.
    """

    labels: jax.Array
    size: jax.Array
    classes: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a protocol predicts for a batch.

    Attributes:
      classes: uint8 `[B, H, W]`.
      confidence: the probability of that class, float32 `[B, H, W]`.
    """

    classes: jax.Array
    confidence: jax.Array


@dataclasses.dataclass(frozen=True)
class Figures:
    """What follows from the counts of a metric; NaN where there is nothing to count.

    Attributes:
      overall: name -> a fraction.
      by_class: name -> fractions, float64 `[C]`.
      curve: name -> numbers that are no fractions, lists.
    """

    overall: Mapping[str, float]
    by_class: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    curve: Mapping[str, list] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric: counts of each image, made on the device, and what follows from their sums.

    Attributes:
      counter: given the labels, returns what counts a prediction: name -> `[B, ...]`, integers or
        float32. What depends on the labels alone is so computed once for all protocols.
      figures: given the counts, summed over all images in int64 or float64.
      titles: of the rows that a table has of it, by name in `Figures.overall`.
      best: `max` or `min`, of the figures in a row.
    """

    counter: Callable[[Truth], Callable[[Prediction], dict[str, jax.Array]]]
    figures: Callable[[Mapping[str, np.ndarray]], Figures]
    titles: Mapping[str, str]
    best: Callable[..., Any] = max
