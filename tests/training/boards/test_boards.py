"""W&B and MLflow as they are called, and as they are where they are installed, offline."""

import importlib.util
import json
import re
import sys
import types

import numpy as np
import pytest
from etils import epath

from hmsa_jax.training import boards
from hmsa_jax.training.boards.mlflow_board import metric_name
from hmsa_jax.training.metric_writer import MetricWriter

NAMES = ["loss", "mean_iou/hierarchical (0.5, 1)", "iou/<script>\"'[red]", "iou/a", "iou/Straße"]
ODD = ["a//b", "/a", "a/", "..", ".", "", "../a", "a/../b", "a:b", ":3a:", "a\nb", "x" * 300]
FIELDS = {"steps": "3", "data.name": "'camvid'"}


def write(workdir, board, *starts):
    """Two starts of a run, the second of which does a step again."""
    for start, steps in ((0, (1, 2)), (1, (2, 3))):
        with MetricWriter(workdir, start, (), (board,), FIELDS) as writer:
            for step in steps:
                writer.write(step, dict.fromkeys(NAMES[:1], step / 2))
                writer.write(step, dict.fromkeys(NAMES[1:], step / 2))
                writer.show(step, {"pictures/a": np.zeros((3, 4, 3), np.uint8)})


def test_names_for_mlflow_are_accepted_and_differ():
    """By the rule of its documentation: alphanumerics and _-./ : and space, no odd paths."""
    names = [*NAMES, *ODD, "x" * 299 + "y", "a%b", "iou/:3c:script:3e:"]
    mapped = [metric_name(name) for name in names]
    assert len(set(mapped)) == len(names)
    for name in mapped:
        assert re.fullmatch(r"[\w\-. /:]{1,250}", name), name
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts), name


class FakeWandb(types.ModuleType):
    """Notes the calls of a run that the board makes."""

    def __init__(self):
        super().__init__("wandb")
        self.started, self.logged, self.finished = [], [], 0
        self.config = types.SimpleNamespace(update=lambda fields, allow_val_change: None)

    def init(self, **options):
        self.started.append(options)
        return self

    def Settings(self, **options):
        return options

    def Image(self, picture, file_type):
        return (file_type, picture.shape)

    def define_metric(self, name, step_metric=None):
        pass

    def log(self, row):
        self.logged.append(row)

    def finish(self):
        self.finished += 1


def test_wandb_is_called_as_it_wants(monkeypatch, tmp_path):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    write(tmp_path, "wandb")
    first, second = fake.started
    assert (
        first["id"]
        == second["id"]
        == json.loads((tmp_path / "writers/wandb.json").read_text())["id"]
    )
    assert (first["resume"], first["dir"]) == ("allow", str(tmp_path))
    assert first["config"] == FIELDS
    assert [row["step"] for row in fake.logged if "loss" in row] == [1, 2, 3]
    assert [row for row in fake.logged if "iou/a" in row] == [
        {"step": step, **dict.fromkeys(NAMES[1:], step / 2)} for step in (1, 2, 3)
    ]
    assert [row["pictures/a"] for row in fake.logged if "pictures/a" in row] == [
        ("jpg", (3, 4, 3))
    ] * 3
    assert fake.finished == 2


def test_what_keeps_no_file_in_a_bucket_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: types.SimpleNamespace())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match="set MLFLOW_TRACKING_URI to a server"):
        boards.check(["mlflow"], epath.Path("gs://bucket/run"))


def test_mlflow_keeps_all_in_the_run(monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="pip install -e .[mlflow]")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    boards.check(["mlflow"], tmp_path)
    write(tmp_path, "mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("hmsa_jax").experiment_id])
    assert (run.info.status, run.data.params) == ("FINISHED", FIELDS)
    for name in NAMES:
        history = client.get_metric_history(run.info.run_id, metric_name(name))
        assert [(each.step, each.value) for each in history] == [(1, 0.5), (2, 1.0), (3, 1.5)]
    pictures = client.list_artifacts(run.info.run_id, "pictures/a")
    assert [each.path[-12:] for each in pictures] == [f"{step:08d}.jpg" for step in (1, 2, 3)]


def test_wandb_writes_offline(monkeypatch, tmp_path, capsys):
    pytest.importorskip("wandb", reason="pip install -e .[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    boards.check(["wandb"], tmp_path)
    write(tmp_path, "wandb")
    assert "goes on without" not in capsys.readouterr().out
    identity = json.loads((tmp_path / "writers" / "wandb.json").read_text())["id"]
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{identity}/*.wandb"))
    data = b"".join(path.read_bytes() for path in files)
    assert data.count(b"iou/<script>\"'[red]") >= 3
