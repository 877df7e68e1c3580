"""Preemption: a signal asks for the end, and every process stops after the same step."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

import jax

from hmsa_jax.distributed import hosts

_STOP = "stop"
_SAID = b"\nStopping when the work at hand is done; Ctrl-C again leaves at once.\n"


class Preemption:
    """Turns SIGTERM and the first Ctrl-C into a request; a second Ctrl-C interrupts at once.

    Use as a context manager.

    Attributes:
      requested: whether this process was asked to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interruption: str | None = None
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> "Preemption":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def requested_of_any(self) -> bool:
        """Whether this process was asked to stop, or another one that has called this since."""
        if self.requested:
            hosts.post(_STOP, "")
        return self.requested or bool(hosts.posted(_STOP))

    @contextlib.contextmanager
    def interrupting(self, message: str) -> Iterator[None]:
        """While the body runs, the first signal raises a KeyboardInterrupt with the message.

        For a body that has nothing to save.
        """
        self._interruption = message
        try:
            if self.requested:
                raise KeyboardInterrupt(message)
            yield
        finally:
            self._interruption = None

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._interruption is not None:
            raise KeyboardInterrupt(self._interruption)
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        if not self.requested:
            os.write(2, _SAID)
        self.requested = True


class LastStep:
    """Agrees on the step after which all processes stop, once one of them is asked to.

    A process that is asked to stop after step n posts n + lead + 1 as the last step before it
    begins step n + 1. To get to step n + lead + 1, another process has to see step n + 1 finished.
    A step finishes when all processes have begun it, so that the last step was posted by then:
    nobody learns of it too late, and nobody waits.

    Args:
      preemption: says whether this process is asked to stop.
      lead: how many steps a process runs ahead: it calls `is_reached` for step n when step n - lead
        is finished.
      of: what the steps are of; a name that is used once in the life of a process.
    """

    def __init__(self, preemption: Preemption, lead: int, of: str):
        self._preemption = preemption
        self._lead = lead
        self._name = f"last step of {of}"
        self._is_posted = False

    def is_reached(self, step: int) -> bool:
        """Whether to stop after this step; to be called after each step."""
        if jax.process_count() == 1:
            return self._preemption.requested
        if self._preemption.requested and not self._is_posted:
            hosts.post(self._name, str(step + self._lead + 1))
            self._is_posted = True
        return any(int(last) <= step for last in hosts.posted(self._name).values())
