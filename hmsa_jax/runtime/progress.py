"""What a person sees while something runs: lines, and the one progress bar."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress

from hmsa_jax.runtime.console import console, stderr

_Item = TypeVar("_Item")

_SECONDS_BETWEEN_LINES = 60  # of a log file, while nothing else is shown


def tell(text: str, style: str | None = None) -> None:
    """Prints a line, or lines, that only the terminal wraps.

    Args:
      text: may hold names that are not ours; see `runtime.console`.
      style: of all of it, as rich names it.
    """
    console.print(text, style=style, soft_wrap=True)


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
        if not self._console.is_terminal and silent > _SECONDS_BETWEEN_LINES:
            self.show("")

    def show(self, figures: str) -> None:
        """Shows figures in the bar or, where there is none, on a line of their own."""
        self._line_time = time.monotonic()
        self._bar.update(self._task, figures=figures)
        if not self._console.is_terminal:
            task = self._bar.tasks[self._task]
            count = f"{task.completed:.0f}/{task.total:.0f}"
            left = rich.progress.TimeRemainingColumn().render(task)
            self._console.print(
                f"{task.description} {count}  {figures}  left {left}", soft_wrap=True
            )


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
