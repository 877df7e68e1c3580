"""Stopping at a good moment."""

import contextlib
import signal
from collections.abc import Iterator

import jax

from hmsa_jax.distributed import hosts

_STOP = "stop"
_LAST_STEP = "last step"


class StopSignal:
    """Turns SIGTERM and the first Ctrl-C into a request; a second Ctrl-C interrupts at once.

    Use as a context manager.
    """

    def __init__(self):
        self.requested = False
        self._interruption = None
        self._previous = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def requested_of_any(self) -> bool:
        """Whether this process was asked to stop, or another one that called this since."""
        if self.requested and jax.process_count() > 1:
            hosts.post(_STOP, "")
        return self.requested or bool(hosts.posted(_STOP))

    @contextlib.contextmanager
    def interrupting(self, message: str) -> Iterator[None]:
        """While the body runs, the first signal interrupts it: a KeyboardInterrupt of the message.

        For what has nothing to save.
        """
        self._interruption = message
        try:
            if self.requested:
                raise KeyboardInterrupt(message)
            yield
        finally:
            self._interruption = None

    def _request(self, number: int, frame) -> None:
        if self._interruption is not None:
            raise KeyboardInterrupt(self._interruption)
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        self.requested = True


class StopStep:
    """The step after which all processes stop, if one of them is asked to.

    A process that is asked after step n tells the others before it begins step n + 1, and that they
    all stop after step n + lead + 1. To get there, another one has to see step n + 1 finished: then
    it was begun everywhere, and the word is out. So nobody is told too late, and nobody waits.

    Args:
      stop: what asks this process.
      lead: a process calls `is_after` for step n when step n - lead is finished. A step finishes
        when all processes have begun it.
    """

    def __init__(self, stop: StopSignal, lead: int):
        self._stop = stop
        self._lead = lead
        self._told = False

    def is_after(self, step: int) -> bool:
        """Whether to stop after this step; to be called after each one."""
        if jax.process_count() == 1:
            return self._stop.requested
        if self._stop.requested and not self._told:
            hosts.post(_LAST_STEP, str(step + self._lead + 1))
            self._told = True
        return any(int(last) <= step for last in hosts.posted(_LAST_STEP))
