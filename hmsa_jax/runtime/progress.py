"""What a person sees while something runs: lines, and the one progress bar."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress

from hmsa_jax.runtime import journal
from hmsa_jax.runtime.console import console, stderr

_Item = TypeVar("_Item")

# Of a log file, while nothing else is shown: soon at first, so that it is seen to work.
_FIRST_SECONDS_BETWEEN_LINES, _MOST_SECONDS_BETWEEN_LINES = 10, 60


def tell(text: str, style: str | None = None) -> None:
    """Prints a line, or lines, that only the terminal wraps.

    Args:
      text: may hold names that are not ours; see `runtime.console`.
      style: of all of it, as rich names it.
    """
    console.print(text, style=style, soft_wrap=True)
    journal.note(text)


class Progress:
    """A progress bar on a terminal, a line now and then elsewhere. Use as a context manager.

    Args:
      description: what is done.
      total: number of steps.
      completed: number of steps that are done already.
      to: where it appears.
    """

    def __init__(
        self,
        description: str,
        total: int,
        completed: int = 0,
        *,
        to: rich.console.Console = console,
    ):
        self._console = to
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[figures]}", markup=False),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            console=to,
            disable=not to.is_terminal,
            transient=False,
        )
        self._line_time = time.monotonic()  # of the last line
        self._patience = _FIRST_SECONDS_BETWEEN_LINES
        self._task = self._bar.add_task(description, total=total, completed=completed, figures="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """Counts one or more steps as done."""
        self._bar.advance(self._task, steps)
        silent = time.monotonic() - self._line_time
        if silent > self._patience:
            self._patience = min(2 * self._patience, _MOST_SECONDS_BETWEEN_LINES)
            self._show_line("")

    def show(self, figures: str) -> None:
        """Shows figures in the bar or, where there is none, on a line of their own."""
        self._bar.update(self._task, figures=figures)
        self._show_line(figures)

    def _show_line(self, figures: str) -> None:
        self._line_time = time.monotonic()
        task = self._bar.tasks[self._task]
        left = rich.progress.TimeRemainingColumn().render(task)
        line = f"{task.description} {task.completed:.0f}/{task.total:.0f}  {figures}  left {left}"
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)
        journal.note(line)


def track(items: Iterable[_Item], total: int, description: str) -> Iterator[_Item]:
    """Yields items under a progress bar on the standard error stream.

    Args:
      items: any number of them.
      total: that number.
      description: what is done with them.
    """
    with Progress(description, total, to=stderr) as progress:
        for item in items:
            yield item
            progress.advance()
        progress.show("")
