"""Where the figures of a run go: a JSONL file, and boards that show them."""

import contextlib
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from hmsa_jax.runtime import files
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training.boards import BOARDS
from hmsa_jax.training.boards.board import Start
from hmsa_jax.training.boards.delivery import MEAN_IOU

NAME = "metrics.jsonl"


class MetricWriter:
    """Writes `WORKDIR/metrics.jsonl`, one object a line, and what boards show beside it.

    A run resumed at a step drops what was written for later steps, so that none appears twice. Of
    the lines of evaluations it keeps those that are on record: another one is written again.
    Use as a context manager.

    Args:
      workdir: the run's directory.
      start_step: steps done before this start.
      evaluated: the steps whose evaluation is on record.
      boards: names in `BOARDS`.
      fields: of the run's config, in words, for the boards.

    Attributes:
      earlier: the figures of the last step up to then.
    """

    earlier: dict[str, float]

    def __init__(
        self,
        workdir: pathlib.Path,
        start_step: int,
        evaluated: Collection[int] = (),
        boards: Sequence[str] = ("tensorboard",),
        fields: Mapping[str, str] | None = None,
    ):
        path = workdir / NAME
        self.earlier = {}
        text = ""
        if path.exists():
            text = _lines_up_to(path, start_step, evaluated)
            write_atomically(path, text)
            rows = [json.loads(line) for line in text.splitlines() if MEAN_IOU not in line]
            self.earlier = rows[-1] if rows else {}
        self._lines = files.lines(path)
        start = Start(workdir, start_step, text, fields or {})
        self._boards = [BOARDS.get(name).open(start) for name in boards]

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._lines)
            for board in self._boards:
                stack.callback(board.close)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Writes the figures of a step, by name.

        Raises:
          OSError: they cannot be written, as on a full disk; no part of a line is.
        """
        self._lines.append(json.dumps({"step": step, **figures}))
        for board in self._boards:
            board.write(step, figures)

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Lets the boards show pictures of a step, uint8 `[H, W, 3]`, by name.

        Raises:
          OSError: they cannot be written.
        """
        for board in self._boards:
            board.show(step, pictures)

    def flush(self) -> None:
        """Writes all that it has been given; to be called before a checkpoint is.

        Else a run in a bucket, where lines wait, might go on from there without them.
        """
        self._lines.flush()
        for board in self._boards:
            board.flush()


class NoWriter:
    """Writes nothing: for the processes that leave writing to the first one."""

    def __init__(self) -> None:
        self.earlier: dict[str, float] = {}

    def __enter__(self) -> "NoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Takes what `MetricWriter.write` takes."""

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Takes what `MetricWriter.show` takes."""

    def flush(self) -> None:
        """Has nothing to write."""


def _lines_up_to(path: pathlib.Path, step: int, evaluated: Collection[int]) -> str:
    """The lines to go on with; tells which lines have no step, but for one cut short."""
    kept, without = [], []
    lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            is_kept = row["step"] <= step
            if any(name.startswith(MEAN_IOU) for name in row):
                is_kept = is_kept and row["step"] in evaluated
        except (json.JSONDecodeError, KeyError, TypeError):
            if line.endswith("\n"):  # else a process was killed when it wrote it
                without.append(number)
            continue
        if is_kept:
            kept.append(line if line.endswith("\n") else f"{line}\n")
    if without:
        numbers = ", ".join(map(str, without[:5])) + (", ..." if len(without) > 5 else "")
        tell(f"{path} goes on without {len(without)} lines that hold no step: {numbers}.", "yellow")
    return "".join(kept)
