"""Where the figures of a run go: a JSONL file and TensorBoard."""

import json
import pathlib

import tensorboardX

from hmsa_jax.files import write_atomically


class MetricWriter:
    """Writes `WORKDIR/metrics.jsonl`, one object a line, and TensorBoard scalars beside it.

    A run resumed at a step drops what was written for later steps, so that no step appears twice.
    Use as a context manager.

    Args:
      workdir: the run's directory.
      start_step: steps done before this start.
    """

    def __init__(self, workdir: pathlib.Path, start_step: int):
        path = workdir / "metrics.jsonl"
        if path.exists():
            write_atomically(path, _lines_up_to(path, start_step))
        self._file = path.open("a")
        self._board = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=start_step + 1
        )

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()
        self._board.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Writes the figures of a step, by name, and flushes them."""
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)


class NoWriter:
    """Writes nothing: for the processes that leave writing to the first one."""

    def __enter__(self) -> "NoWriter":
        return self

    def __exit__(self, *exception) -> None:
        pass

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Takes what `MetricWriter.write` takes."""


def _lines_up_to(path: pathlib.Path, step: int) -> str:
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            continue  # the line that a killed process did not finish
    return "".join(kept)
