"""What a board is: it takes figures and pictures of a run, step by step."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np


class Board(Protocol):
    """Takes figures and pictures by name. Names may hold any characters."""

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of a step."""

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Takes pictures of a step, uint8 `[H, W, 3]`."""

    def flush(self) -> None:
        """Brings to where it lasts what a checkpoint needs there."""

    def close(self) -> None:
        """Takes nothing more."""


@dataclasses.dataclass(frozen=True)
class Start:
    """What a board is told of a run that starts or goes on.

    Attributes:
      workdir: the run's directory.
      step: steps done before this start.
      lines: what `metrics.jsonl` holds, up to that step.
      fields: of the run's config, in words.
    """

    workdir: pathlib.Path
    step: int
    lines: str
    fields: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Kind:
    """An entry of `BOARDS`.

    Attributes:
      open: makes the board of a run.
      check: raises ValueError unless what it needs is there, given the run's directory.
    """

    open: Callable[[Start], Board]
    check: Callable[[pathlib.Path], None] = lambda workdir: None


def check_installed(name: str) -> None:
    """Raises ValueError unless the package of that name is there; the extra has that name, too."""
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"writers has {name}, which is not installed; pip install -e .[{name}]")
