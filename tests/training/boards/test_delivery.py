"""What gets to a board that lies elsewhere, whatever happens on the way."""

import json
import threading

import numpy as np
import pytest

from hmsa_jax.training import boards
from hmsa_jax.training.boards import BOARDS, board
from hmsa_jax.training.boards.board import Kind
from hmsa_jax.training.boards.delivery import Delivery
from hmsa_jax.training.metric_writer import MetricWriter

PICTURE = np.zeros((3, 4, 3), np.uint8)


class Elsewhere:
    """A board that remembers; stands for `Connection`."""

    def __init__(self):
        self.id = "x1"
        self.ids, self.rows, self.shown, self.closed = [], [], [], 0
        self.fails_at = None

    def connect(self, id):
        self.ids.append(id)
        return self

    def write(self, step, figures):
        if step == self.fails_at:
            raise ConnectionError("no\nnetwork")
        self.rows.append((step, figures))

    def show(self, step, pictures):
        self.shown.append((step, *pictures))

    def close(self):
        self.closed += 1


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def start(elsewhere, tmp_path):
    """Starts a run, or goes on with it, whose figures go to the board as well."""

    def start(step, evaluated=(), patience=20.0):
        kind = Kind(lambda start: Delivery("elsewhere", start, elsewhere.connect, patience))
        with BOARDS.holding("elsewhere", kind):
            return MetricWriter(tmp_path, step, evaluated, ("tensorboard", "elsewhere"))

    return start


def write(writer, *steps, evaluated=()):
    for step in steps:
        writer.write(step, {"loss": step / 8})
        if step in evaluated:
            writer.write(step, {"mean_iou/p": 1.0, "iou/a": 2.0})
            writer.show(step, {"pictures/a": PICTURE})


def of_steps(elsewhere):
    return [step for step, figures in elsewhere.rows if "loss" in figures]


def test_a_run_that_goes_on_is_the_same_one_there_and_no_step_twice(start, elsewhere):
    with start(0) as writer:
        write(writer, 1, 2, 3, 4, evaluated={2, 4})
    with start(2, evaluated={2}) as writer:  # as after a kill: steps 3 and 4 are done again
        write(writer, 3, 4, 5, 6, evaluated={4, 6})
    assert elsewhere.ids == ["", "x1"]
    assert of_steps(elsewhere) == [1, 2, 3, 4, 5, 6]
    assert [step for step, figures in elsewhere.rows if "iou/a" in figures] == [2, 4, 6]
    assert elsewhere.shown == [(step, "pictures/a") for step in (2, 4, 6)]
    assert elsewhere.closed == 2


def test_what_failed_stops_no_training_and_is_brought_when_it_goes_on(start, elsewhere, capsys):
    elsewhere.fails_at = 3
    with start(0) as writer:
        write(writer, 1, 2, 3, 4, 5)
    told = capsys.readouterr().out.splitlines()
    assert told == ["Training goes on without elsewhere: ConnectionError: no network"]
    elsewhere.fails_at = None
    with start(5) as writer:
        write(writer, 6)
    assert of_steps(elsewhere) == [1, 2, 4, 5, 6]  # the one on its way may be there or not


def test_a_board_that_is_named_later_gets_what_there_is(start, elsewhere, tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        write(writer, 1, 2, 3, evaluated={2})
    with start(2, evaluated={2}) as writer:
        write(writer, 3)
    assert of_steps(elsewhere) == [1, 2, 3]
    assert elsewhere.rows[2] == (2, {"mean_iou/p": 1.0, "iou/a": 2.0})


def test_a_board_that_hangs_holds_up_nothing(start, elsewhere, capsys, tmp_path):
    hanging = threading.Event()
    elsewhere.connect = lambda id: hanging.wait(20)
    with start(0, patience=0.1) as writer:
        write(writer, *range(1, 200), evaluated=range(1, 200))
        writer.flush()
        waiting = writer._boards[1]._waiting.qsize()
    hanging.set()
    assert waiting < 2 * 199 + 150  # pictures wait no longer than a while
    assert "elsewhere has not taken everything within 0 s" in capsys.readouterr().out
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2 * 199


def test_a_damaged_record_is_named(start, tmp_path):
    path = tmp_path / "writers" / "elsewhere.json"
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        start(0)
    path.write_text(json.dumps({"id": "x1", "steps": {}}))
    start(0).__exit__()


def test_a_missing_package_is_refused_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda name: None)
    for name in ("wandb", "mlflow"):
        with pytest.raises(ValueError, match=rf"pip install -e \.\[{name}\]"):
            boards.check(["tensorboard", name], tmp_path)
