"""A trace of some training steps, to see what the devices do."""

import pathlib
import re
import shlex
import tempfile
from typing import Any

import jax

from hmsa_jax.runtime import storage
from hmsa_jax.runtime.progress import tell

EXPECTED = "'', or the first and the last step to trace, like '20:25'"


def parse(text: str) -> tuple[int, int] | None:
    """Reads the field `profile`.

    Returns:
      The first and the last step, or None for no trace.

    Raises:
      ValueError: it is no range of steps.

    >>> parse("20:25")
    (20, 25)
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"profile is {text!r}; expected {EXPECTED}")
    return int(match[1]), int(match[2])


def check(text: str, steps: int) -> None:
    """Raises ValueError if the field `profile` names no step that a run of so many steps takes."""
    named = parse(text)
    if named is not None and named[0] > steps:
        raise ValueError(f"profile is {text!r}, but the run has {steps} steps; name some of these")


class Profile:
    """Writes a trace of jax.profiler while steps of a range run. Use as a context manager.

    A run that is resumed within the range traces the rest of it; one that stops within it keeps
    what it has.

    Args:
      steps: the value of the field `profile`.
      directory: that the trace is written to; in a bucket, when it has ended.
      done: how many steps the run has taken; it is told if those are all of the range.
    """

    def __init__(self, steps: str, directory: pathlib.Path, done: int = 0):
        self._steps = parse(steps)
        self._directory = directory
        self._scratch: tempfile.TemporaryDirectory | None = None
        self._is_running = False
        if self._steps and self._steps[1] <= done:
            tell(f"profile is {steps!r}, but the run has taken {done} steps: nothing is traced.")

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Starts the trace if it is due; call before the step is dispatched."""
        if self._steps and not self._is_running and self._steps[0] <= step <= self._steps[1]:
            place = self._directory
            if storage.is_remote(place):
                self._scratch = tempfile.TemporaryDirectory(prefix="hmsa-profile-")
                place = pathlib.Path(self._scratch.name)
            jax.profiler.start_trace(place)
            self._is_running = True

    def after(self, step: int, results: Any) -> None:
        """Ends the trace after its last step, once the devices have done it.

        Args:
          step: number of the step that was dispatched.
          results: the arrays that it returned.
        """
        if self._is_running and self._steps and step == self._steps[1]:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self) -> None:
        if self._is_running:
            jax.profiler.stop_trace()
            self._is_running = False
            if self._scratch is not None:
                with self._scratch as scratch:
                    storage.upload_tree(pathlib.Path(scratch), self._directory)
                self._scratch = None
            tell(
                f"Traced steps are in {self._directory}; to look at them: pip install xprof, then"
                f" xprof {shlex.quote(f'--logdir={self._directory}')}"
            )
