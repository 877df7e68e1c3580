"""When steps finish on the devices, and how long those wait for data."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


class StepClock:
    """Sees steps finish, in a thread of its own, while the loop runs ahead of them.

    The time of a step is that from the end of the one before to its own. A wait for data counts as
    far as the devices have nothing to do in it: from when the last step has finished.
    """

    def __init__(self) -> None:
        self._dispatched: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._finished: dict[int, float] = {}
        self._waits: list[tuple[int, float, float]] = []  # after which step, from when to when
        self._pauses: list[tuple[float, float]] = []
        self._last: tuple[int, float] | None = None  # step and time that the next reading starts at
        threading.Thread(target=self._watch, daemon=True).start()

    def begin(self, step: int) -> None:
        """Starts the time of the step after this one."""
        self._last = step, time.monotonic()

    def dispatched(self, step: int, results: Any) -> None:
        """Takes the arrays that a step returns, when they are promised."""
        self._dispatched.put((step, results))

    @contextlib.contextmanager
    def waiting(self, step: int) -> Iterator[None]:
        """While the body waits for the data of the step after this one."""
        begin = time.monotonic()
        yield
        self._waits.append((step, begin, time.monotonic()))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time that the body takes; all steps before have finished."""
        begin = time.monotonic()
        yield
        self._pauses.append((begin, time.monotonic()))

    def read(self, step: int) -> "Interval":
        """The steps since the last reading up to this one, which has finished."""
        assert self._last is not None  # it has begun
        while step not in self._finished:  # its thread is about to see it
            time.sleep(0.001)
        first, begin = self._last
        ends = [begin, *(self._finished[s] for s in range(first + 1, step + 1))]
        seconds = np.diff(ends)
        for start, end in self._pauses:
            index = int(np.searchsorted(ends, end)) - 1
            if 0 <= index < len(seconds):
                seconds[index] -= end - start
        idle = sum(
            max(0.0, end - max(start, self._finished.get(after, begin)))
            for after, start, end in self._waits
            if after < step
        )
        self._waits = [wait for wait in self._waits if wait[0] >= step]
        self._pauses = [pause for pause in self._pauses if pause[1] > ends[-1]]
        for old in range(first, step):  # one by one: the thread may add another meanwhile
            self._finished.pop(old, None)
        self._last = step, ends[-1]
        return Interval(seconds, idle)

    def close(self) -> None:
        """Ends the thread."""
        self._dispatched.put(None)

    def _watch(self) -> None:
        while (item := self._dispatched.get()) is not None:
            step, results = item
            with contextlib.suppress(Exception):  # the loop meets it, too
                jax.block_until_ready(results)
            self._finished[step] = time.monotonic()


class Interval:
    """Some steps that have finished.

    Args:
      seconds: of each step, float64 `[steps]`.
      idle: seconds in which the devices waited for data.
    """

    def __init__(self, seconds: np.ndarray, idle: float):
        self.seconds = seconds
        self.total = float(seconds.sum())
        self.data_wait = min(idle / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def steps_per_second(self) -> float:
        """The mean rate."""
        return len(self.seconds) / self.total if self.total > 0 else 0.0

    def figures(self) -> dict[str, float]:
        """Percentiles of the seconds of a step, and the share of the time that data took."""
        median, slow, slowest = np.percentile(self.seconds, (50, 90, 100))
        return {
            "time/step_median": float(median),
            "time/step_p90": float(slow),
            "time/step_max": float(slowest),
            "time/data_wait": self.data_wait,
        }
