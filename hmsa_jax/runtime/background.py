"""A computation beside the main thread, for which the process does not wait when it ends."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")

status = 0
"""With which the process ends where a computation still runs: who ends it sets it."""

_running: set["Background"] = set()


class Background(Generic[_Result]):
    """A computation in a thread of its own, which begins at once.

    Args:
      compute: what is computed. What it raises is raised where the result is asked for.
    """

    def __init__(self, compute: Callable[[], _Result]):
        self._compute = compute
        self._result: list[_Result] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        _running.add(self)
        self._thread.start()

    def is_done(self, seconds: float = 0) -> bool:
        """Whether it has ended, well or not, after waiting up to some seconds for it."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> _Result:
        """What is computed, after waiting for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._compute())
        except BaseException as error:
            self._error = error
        finally:
            _running.discard(self)


@atexit.register
def _leave() -> None:
    """Ends the process at once if something still runs: a compiler that is torn down aborts it.

    What is registered later is done before: commands import this module before anything else
    registers what has to be done.
    """
    if _running:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
