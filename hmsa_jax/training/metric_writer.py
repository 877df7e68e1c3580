"""Where the figures of a run go: a JSONL file and TensorBoard."""

import contextlib
import json
import pathlib
import tempfile
import time
from collections.abc import Collection

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from hmsa_jax.runtime import files, storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import tell
from hmsa_jax.runtime.system_errors import named

NAME = "metrics.jsonl"
MEAN_IOU = "mean_iou/"  # what the name of a figure begins with in the line of an evaluation
_SECONDS_BETWEEN_FLUSHES = 30  # of what TensorBoard reads


class MetricWriter:
    """Writes `WORKDIR/metrics.jsonl`, one object a line, and TensorBoard scalars beside it.

    A run resumed at a step drops what was written for later steps, so that none appears twice. Of
    the lines of evaluations it keeps those that are on record: another one is written again.
    Use as a context manager.

    Args:
      workdir: the run's directory.
      start_step: steps done before this start.
      evaluated: the steps whose evaluation is on record.

    Attributes:
      earlier: the figures of the last step up to then.
    """

    earlier: dict[str, float]

    def __init__(self, workdir: pathlib.Path, start_step: int, evaluated: Collection[int] = ()):
        path = workdir / NAME
        self.earlier = {}
        if path.exists():
            text = _lines_up_to(path, start_step, evaluated)
            write_atomically(path, text)
            rows = [json.loads(line) for line in text.splitlines() if MEAN_IOU not in line]
            self.earlier = rows[-1] if rows else {}
        self._lines = files.lines(path)
        self._board = _Board(workdir / "tensorboard", start_step + 1)

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lines:
            self._board.close()

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Writes the figures of a step, by name.

        Raises:
          OSError: they cannot be written, as on a full disk; no part of a line is.
        """
        self._lines.append(json.dumps({"step": step, **figures}))
        self._board.write(step, figures)

    def flush(self) -> None:
        """Writes all that it has been given; to be called before a checkpoint is.

        Else a run in a bucket, where lines wait, might go on from there without them.
        """
        self._lines.flush()
        self._board.flush()


class _Board:
    """Events for TensorBoard, written at once: a thread that fails would be waited for for ever.

    Those of a run in a bucket are written here and uploaded whenever they are flushed.
    """

    def __init__(self, directory: pathlib.Path, first_step: int):
        storage.make_directory(directory)
        self._directory = directory
        self._flush_time = time.monotonic()
        self._scratch = None
        place = directory.absolute()  # what begins with s3: or gs: would be written elsewhere
        if storage.is_remote(directory):
            self._scratch = tempfile.TemporaryDirectory(prefix="hmsa-tensorboard-")
            place = pathlib.Path(self._scratch.name)
        with named(directory):
            self._events = EventsWriter(str(place / "events"))
            start = SessionLog(status=SessionLog.START)  # later steps of before are void
            self._events.write_event(Event(step=first_step, session_log=start))

    def write(self, step: int, figures: dict[str, float]) -> None:
        with named(self._directory):
            for name, value in figures.items():
                scalar = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                event = Event(wall_time=time.time(), step=step, summary=scalar)
                self._events.write_event(event)
        if time.monotonic() - self._flush_time > _SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        with named(self._directory):
            self._events.flush()
        self._upload()
        self._flush_time = time.monotonic()

    def close(self) -> None:
        # What does not fit here is in the JSONL file.
        with contextlib.suppress(OSError):
            self._events.close()
            self._upload()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _upload(self) -> None:
        if self._scratch is not None:
            storage.upload_tree(pathlib.Path(self._scratch.name), self._directory)


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
