"""Times of programs that run in turn: what slows the machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax

ROUNDS = 7

Name = TypeVar("Name", bound=Hashable)


def seconds_of(
    programs: Mapping[Name, Callable[[], Any]], rounds: int = ROUNDS
) -> dict[Name, float]:
    """The median time of each program, after a round that does not count.

    Args:
      programs: name -> what runs; it returns arrays, for which is waited.
      rounds: how often each runs.

    Returns:
      name -> seconds.
    """
    times: dict[Name, list[float]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, run in programs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each[1:]) for name, each in times.items()}
