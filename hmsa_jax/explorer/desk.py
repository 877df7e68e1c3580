"""Pictures that were handed in: one is looked at after the other, and the last few are kept."""

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Callable

from hmsa_jax.explorer.look import Look
from hmsa_jax.runtime.background import Background


class FullError(Exception):
    """So many pictures wait that no more are taken."""


@dataclasses.dataclass
class Job:
    """A picture on its way.

    Attributes:
      number: from 1 on.
      name: of its file.
      look: looks at it, and says what it does meanwhile by the function that it is given.
      state: `waiting`, `working`, `done`, `failed`, or `gone`: later ones have taken its place.
      message: for whoever waits.
      found: what was seen, when it is done.
      seconds: that it took.
    """

    number: int
    name: str
    look: Callable[[Callable[[str], None]], Look] | None
    state: str = "waiting"
    message: str = ""
    found: Look | None = None
    seconds: float = 0.0


class Desk:
    """Looks at pictures in a thread of its own, in the order in which they came.

    Args:
      most_waiting: pictures; further ones are refused.
      most_bytes: of the arrays of those that are kept. The newest one is always kept.
      excuse: given an error, what whoever handed the picture in is told.
    """

    def __init__(
        self, most_waiting: int, most_bytes: int, excuse: Callable[[Exception], str] = str
    ):
        self._most_waiting, self._most_bytes, self._excuse = most_waiting, most_bytes, excuse
        self._jobs: dict[int, Job] = {}
        self._waiting: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def hand_in(self, name: str, look: Callable[[Callable[[str], None]], Look]) -> Job:
        """Takes a picture; FullError if too many wait."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                raise FullError(
                    f"{len(self._waiting)} pictures wait already; hand this one in again later"
                )
            job = Job(len(self._jobs) + 1, name, look)
            self._jobs[job.number] = job
            self._waiting.append(job)
            self._changed.notify()
        return job

    def job(self, number: int) -> Job:
        """The picture of this number; KeyError if there was none."""
        with self._changed:
            return self._jobs[number]

    def before(self, job: Job) -> int:
        """How many are looked at before it."""
        with self._changed:
            ahead = [other for other in self._jobs.values() if other.number < job.number]
            return sum(other.state in ("waiting", "working") for other in ahead)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                job = self._waiting.popleft()
                job.state = "working"
            self._look(job)
            self._forget()

    def _look(self, job: Job) -> None:
        begin = time.monotonic()

        def say(message: str) -> None:
            job.message = message

        assert job.look is not None  # until now
        try:
            found = Background(functools.partial(job.look, say)).result()
        except Exception as error:
            job.message, job.state = self._excuse(error), "failed"
        else:
            job.seconds = time.monotonic() - begin
            job.found, job.message, job.state = found, "", "done"
        job.look = None  # and the bytes of the picture with it

    def _forget(self) -> None:
        """Lets go of the oldest looks as far as they take too much."""
        with self._changed:
            kept = 0
            for job in reversed(self._jobs.values()):
                if job.found is None:
                    continue
                is_newest = not kept
                kept += job.found.bytes
                if kept > self._most_bytes and not is_newest:
                    job.found, job.state = None, "gone"
                    job.message = "later pictures have taken its place; hand it in again"
