"""What a person sees while something runs."""

import time

import rich.progress

from hmsa_jax.runtime.console import console

_SECONDS_BETWEEN_LINES = 60  # of a log file, while nothing else is to be shown


def tell(text: str, style: str | None = None) -> None:
    """Prints a line, or lines, that only the terminal wraps.

    Args:
      text: may hold what is not ours; see `runtime.console`.
      style: of all of it, as rich names it.
    """
    console.print(text, style=style, soft_wrap=True)


class Progress:
    """A progress bar on a terminal, a line now and then elsewhere. Use as a context manager.

    Args:
      description: what is done.
      total: how many steps there are.
      completed: how many are done already.
    """

    def __init__(self, description: str, total: int, completed: int = 0):
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[figures]}", markup=False),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(compact=True, elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
            transient=False,
        )
        self._line_time = time.monotonic()
        self._task = self._bar.add_task(description, total=total, completed=completed, figures="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """One or more steps are done."""
        self._bar.advance(self._task, steps)
        silent = time.monotonic() - self._line_time
        if not console.is_terminal and silent > _SECONDS_BETWEEN_LINES:
            self.show("")

    def show(self, figures: str) -> None:
        """Shows figures in the bar or, where there is none, on a line of their own."""
        self._line_time = time.monotonic()  # of the last line
        self._bar.update(self._task, figures=figures)
        if not console.is_terminal:
            task = self._bar.tasks[self._task]
            left = rich.progress.TimeRemainingColumn().render(task)
            tell(
                f"{task.description} {task.completed:.0f}/{task.total:.0f}  {figures}  left {left}"
            )
