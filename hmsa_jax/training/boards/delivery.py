"""Figures on their way to a board that lies elsewhere: in a thread, each once, never in the way.

`RUN/writers/NAME.json` says under which id the board knows the run, and up to which step it was
given what. A run that goes on gives it what it lacks of `metrics.jsonl`, and nothing again.
"""

import dataclasses
import json
import pathlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from hmsa_jax.runtime.background import Background
from hmsa_jax.runtime.files import store
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training.boards.board import Start

MEAN_IOU = "mean_iou/"
"""What the name of a figure begins with that only the line of an evaluation has."""

_PATIENCE = 20.0  # seconds that a run that ends waits, at most
_MOST_WAITING = 100  # lines, with which no more pictures are taken


class Connection(Protocol):
    """A run on a board. What it raises ends the delivery, and not the run.

    Attributes:
      id: by which the board knows the run.
    """

    id: str

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Brings figures there."""

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Brings pictures there."""

    def close(self) -> None:
        """Waits until all is there."""


@dataclasses.dataclass
class _Given:
    """What a board was given.

    Attributes:
      id: of the run there; '' before there is one.
      steps: the last one, by what was given.
    """

    id: str = ""
    steps: dict[str, int] = dataclasses.field(default_factory=dict)


class Delivery:
    """A board to which a thread brings everything.

    Args:
      name: of the board.
      start: of the run.
      connect: given the id of the run there, or '', opens it; called in the thread.
      patience: seconds that `close` waits at most.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        connect: Callable[[str], Connection],
        patience: float = _PATIENCE,
    ):
        self._name = name
        self._start = start
        self._connect = connect
        self._patience = patience
        self._path = start.workdir / "writers" / f"{name}.json"
        self._given = _read(self._path)
        self._waiting: queue.SimpleQueue[tuple[str, int, Any] | None] = queue.SimpleQueue()
        self._has_ended = threading.Event()
        self._thread = Background(self._deliver_all)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes figures."""
        self._take(_kind_of(figures), step, dict(figures))

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Takes pictures, unless much is waiting."""
        if self._waiting.qsize() < _MOST_WAITING:
            self._take("pictures", step, dict(pictures))

    def flush(self) -> None:
        """Does nothing: what a kill leaves behind is brought when the run goes on."""

    def close(self) -> None:
        """Waits a little until all is there."""
        self._waiting.put(None)
        if not self._thread.is_done(self._patience):
            tell(
                f"{self._name} has not taken everything within {self._patience:.0f} s; it gets what"
                " it lacks of metrics.jsonl when the run goes on.",
                "yellow",
            )

    def _take(self, kind: str, step: int, content: Any) -> None:
        if not self._has_ended.is_set():
            self._waiting.put((kind, step, content))

    def _deliver_all(self) -> None:
        try:
            connection = self._connect(self._given.id)
            if connection.id != self._given.id:
                self._given.id = connection.id
                self._store()
            for kind, step, content in self._everything():
                self._deliver(connection, kind, step, content)
            connection.close()
        except BaseException as error:  # of libraries and networks: of any kind
            self._has_ended.set()
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            tell(f"Training goes on without {self._name}: {reason}", "yellow")

    def _everything(self) -> Iterator[tuple[str, int, Any]]:
        """What was on file at the start, then what comes, until the end is said."""
        for line in self._start.lines.splitlines():
            row = json.loads(line)
            yield _kind_of(row), row.pop("step"), row
        while (item := self._waiting.get()) is not None:
            yield item

    def _deliver(self, connection: Connection, kind: str, step: int, content: Any) -> None:
        if step <= self._given.steps.get(kind, -1):
            return
        self._given.steps[kind] = step
        self._store()  # before: what is lost then is a line, and none is there twice
        if kind == "pictures":
            connection.show(step, content)
        else:
            connection.write(step, content)

    def _store(self) -> None:
        store(self._path, json.dumps(dataclasses.asdict(self._given)).encode())


def _kind_of(figures: Mapping[str, Any]) -> str:
    is_evaluation = any(name.startswith(MEAN_IOU) for name in figures)
    return "evaluations" if is_evaluation else "steps"


def _read(path: pathlib.Path) -> _Given:
    """What is on record; ValueError if that is damaged."""
    if not path.exists():
        return _Given()
    try:
        return _Given(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it from a copy, or remove it: the run is then"
            " another one there"
        ) from error
