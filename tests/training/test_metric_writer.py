import json

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from hmsa_jax.training.metric_writer import MetricWriter
from tests.event_files import events, pictures


def steps(workdir):
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]


def test_resuming_drops_later_steps_and_a_torn_line(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    with MetricWriter(tmp_path, 2) as writer:
        assert steps(tmp_path) == [1, 2]
        writer.write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_evaluations_that_are_not_on_record_are_written_again(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"loss": 1.0})
            writer.write(step, {"mean_iou/single (1)": 50.0 + step})
    with MetricWriter(tmp_path, 2, evaluated={1}):
        text = (tmp_path / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["step"], "loss" in row) for row in rows] == [(1, True), (1, False), (2, True)]


def test_lines_that_hold_no_step_are_told(tmp_path, capsys):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\nnotes\n{"step": "x"}\n\xff\n[1]\n{"step": 2}')
    with MetricWriter(tmp_path, 5):
        assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    output = " ".join(capsys.readouterr().out.split())
    assert output == f"{path} goes on without 4 lines that hold no step: 2, 3, 4, 5."


def test_a_full_disk_ends_the_run_and_leaves_whole_lines(tmp_path, full_disk):
    def write():
        with MetricWriter(tmp_path, 0) as writer:
            for step in range(1, 100):
                writer.write(step, {"loss": 1.0})

    with full_disk(1000), pytest.raises(OSError, match=str(tmp_path / "metrics.jsonl")):
        write()
    assert 10 < len(steps(tmp_path)) < 99
    assert steps(tmp_path) == list(range(1, 1 + len(steps(tmp_path))))


def test_events_hold_the_figures_and_void_what_was_later(tmp_path):
    with MetricWriter(tmp_path, 2) as writer:
        writer.write(3, {"loss": 0.25, "mean_iou/single (1)": 2.0})
    (path,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    version, start, *figures = events(path.read_bytes())
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (3, SessionLog.START)
    values = [(e.step, v.tag, v.simple_value) for e in figures for v in e.summary.value]
    assert values == [(3, "loss", 0.25), (3, "mean_iou/single (1)", 2.0)]


def test_pictures_and_names_arrive_as_they_are(tmp_path):
    name = "iou/<script>\"'[red]\N{SNOWMAN}"
    colours = np.zeros((30, 40, 3), np.uint8) + np.uint8([200, 100, 0])
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {name: 0.5})
        writer.show(1, {f"pictures/{name}": colours})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, name: 0.5}
    (path,) = (tmp_path / "tensorboard").glob("events.*")
    tags = [value.tag for event in events(path.read_bytes()) for value in event.summary.value]
    assert tags == [name, f"pictures/{name}"]
    shown = pictures(tmp_path)[1, f"pictures/{name}"]
    assert np.abs(shown.astype(int) - colours).max() <= 3


def test_without_boards_there_are_lines_alone(tmp_path):
    with MetricWriter(tmp_path, 0, boards=()) as writer:
        writer.write(1, {"loss": 1.0})
        writer.show(1, {"pictures/a": np.zeros((3, 4, 3), np.uint8)})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_start_goes_on_from_the_figures_of_the_last_step(tmp_path):
    with MetricWriter(tmp_path, 0, boards=()) as writer:
        writer.write(1, {"loss": 1.0, "time/in_steps": 30.0})
        writer.write(1, {"mean_iou/single (1)": 50.0})
    with MetricWriter(tmp_path, 1, evaluated={1}, boards=()) as writer:
        assert writer.earlier == {"step": 1, "loss": 1.0, "time/in_steps": 30.0}
