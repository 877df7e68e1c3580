"""The command that asks compiled programs for other chips what they cost."""

import json
import signal
import subprocess

import jax
import numpy as np
import pytest

from configs import street_scenes
from hmsa_jax.experiment import backends, compile_report, experiment
from hmsa_jax.performance import breakdown
from hmsa_jax.performance import target as target_lib
from hmsa_jax.report import backends as report
from hmsa_jax.report import step_breakdown


@pytest.fixture
def config():
    config = street_scenes.get_config()
    config.data.crop_size = (64, 64)
    config.model.ocr_channels = 8
    config.model.ocr_key_channels = 4
    config.model.head_channels = 4
    config.evaluate.images_per_device = 2
    config.evaluate.protocols = ("single",)
    return config


def failing(*arguments, **options):
    raise AssertionError("this row was there")


def test_command_measures_and_goes_on(config, tmp_path, monkeypatch):
    """The evaluation step in a process of its own; the same command again compiles nothing."""
    options = {"targets": "cpu:2", "steps": "evaluate", "command": "python main.py backends"}
    config.steps = config.get_ref("log_every") * 10  # recipes have references to other fields
    (row,) = backends.backends(config, tmp_path, **options)
    assert row["status"] == "fits", row["message"]
    assert (row["devices"], row["images"]) == (2, 4)
    assert row["time"]["kind"] == "measured"
    assert row["time"]["lower_quartile"] <= row["time"]["median"] <= row["time"]["upper_quartile"]
    # The devices exchange nothing but the counts of each image (the confusion matrix of 11
    # classes, 9 of boundaries by class, 3 of 15 bins) and whether its logits are finite.
    of_image = 4 * (11 * 11 + 9 * 11 + 3 * 15) + 1
    assert row["collectives"] == {
        "all-gather": {"count": 1 + 9 + 3 + 1, "bytes": row["images"] * of_image}
    }
    assert "mfu" not in row
    text = (tmp_path / "backends.md").read_text()
    assert "| cpu:2 | evaluate | 4 | yes |" in text
    assert "python main.py backends\n" in text
    assert "cpu:2 evaluate" in (tmp_path / "backends.svg").read_text()

    monkeypatch.setattr(backends, "_report_apart", failing)
    assert backends.backends(config, tmp_path, **options) == [row]
    config.evaluate.protocols = ("single", "max:1,2")
    with pytest.raises(ValueError, match=r"differs in evaluate\.protocols; name another --out"):
        backends.backends(config, tmp_path, **options)


def test_command_goes_on_with_part_of_the_rows(config, tmp_path, monkeypatch):
    started = []

    def reported(config, target, step, images_per_device, breaks_down, environment):
        started.append((target.name, step))
        row = {"target": target.name, "step": step, "status": "fits", "message": ""}
        if step == "train" and len(started) == 2:
            row |= {"status": "failed", "message": "for once"}
        if breaks_down:
            place = breakdown.Place("trunk/stem", "convolution", False)
            parts = step_breakdown.to_rows({place: breakdown.Work(3, 10**9, 2 * 10**9, 1)}, None)
            row |= {"device": "cpu", "breakdown": parts}
        return row | {"compiler": target_lib.compiler_version(target)}

    monkeypatch.setattr(backends, "_report_apart", reported)
    backends.backends(config, tmp_path, targets="cpu:1")
    assert started == [("cpu:1", "train"), ("cpu:1", "evaluate")]
    path = tmp_path / "backends.json"
    part = json.loads(path.read_text())
    del part["rows"][0]
    path.write_text(json.dumps(part))
    rows = backends.backends(config, tmp_path, targets="cpu:1,cpu:2")
    assert started[2:] == [("cpu:1", "train"), ("cpu:2", "train"), ("cpu:2", "evaluate")]
    assert [row["status"] for row in rows] == ["fits"] * 4
    assert len(json.loads(path.read_text())["rows"]) == 4
    for _ in range(2):  # rows without a breakdown are not what is asked for
        backends.backends(config, tmp_path, targets="cpu:1", steps="train", breaks_down=True)
    assert started[5:] == [("cpu:1", "train")]
    told = tmp_path / "breakdown.md"
    assert "| trunk/stem | 1000.0 | 2.00 | 1 |" in told.read_text()
    path.unlink()  # what is compiled anew without one leaves none of before
    backends.backends(config, tmp_path, targets="cpu:1", steps="train")
    assert not told.exists()
    for damaged in ("{}", "[]", '{"rows": ['):
        path.write_text(damaged)
        with pytest.raises(
            ValueError, match=r"backends\.json is damaged, or no file of `backends`"
        ):
            backends.backends(config, tmp_path, targets="cpu:1", steps="train")
        assert path.read_text() == damaged


def test_killed_compiler_is_a_row_with_a_hint(config, tmp_path, monkeypatch):
    killed = subprocess.CompletedProcess([], -signal.SIGKILL, stderr=b"a warning")
    monkeypatch.setattr(backends.subprocess, "run", lambda *arguments, **options: killed)
    (row,) = backends.backends(config, tmp_path, targets="cpu:1", steps="train")
    assert row["status"] == "failed"
    assert "memory is spent" in row["message"]
    assert "--quick" in row["message"]


def test_quick_is_for_tpus_and_not_mixed_with_others(config, tmp_path, monkeypatch):
    levels = {}

    def reported(config, target, step, images_per_device, breaks_down, environment):
        levels[target.name] = environment.get("JAX_OPTIMIZATION_LEVEL")
        return {"target": target.name, "step": step, "status": "fits", "message": ""}

    monkeypatch.setattr(backends, "_report_apart", reported)
    monkeypatch.setattr(backends, "_kinds_here", lambda wanted: [])
    monkeypatch.setattr(report, "verdict", lambda row: "")
    options = {"targets": "cpu:1,v5e,h100:1", "steps": "train"}
    backends.backends(config, tmp_path, quick=True, **options)
    assert levels == {"cpu:1": None, "v5e:1x1": "O1", "h100:1": None}
    assert "little optimisation" in (tmp_path / "backends.md").read_text()
    with pytest.raises(ValueError, match="differs in quick; name another --out"):
        backends.backends(config, tmp_path, **options)


def test_train_step_is_the_one_of_the_config(config, short_trunk):
    """On two of the simulated devices: the batch, the mesh and the work are as asked for."""
    config.model.trunk = "short"
    config.model.attention = "none"  # and one scale: half as much to compile
    config.objective.scales = (1.0,)
    row = compile_report.of_step(config, target_lib.parse("cpu:2"), "train", images_per_device=3)
    assert row["status"] == "fits", row["message"]
    assert row["mesh"] == {"data": 2, "spatial": 1}
    assert row["images"] == 6
    assert row["memory"]["aliased"] > 0.9 * row["memory"]["outputs"]
    params = experiment.assemble(config, jax.devices()[:2]).params
    parameters = 4 * sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    assert row["collectives"]["all-reduce"]["bytes"] > parameters  # the gradient, and BatchNorm
    config.mesh.data = 3
    row = compile_report.of_step(config, target_lib.parse("cpu:2"), "train", images_per_device=1)
    assert row["status"] == "failed"
    assert "mesh.data x mesh.spatial is 3 x 1" in row["message"]


def test_missing_compiler_is_a_row_with_a_hint(config, monkeypatch):
    monkeypatch.setattr(target_lib, "compiler_version", lambda target: None)
    for name in ("v5e:2x2", "h100:8"):
        row = compile_report.of_step(config, target_lib.parse(name), "train", images_per_device=1)
        assert row["status"] == "failed"
        assert "pip install -r requirements-targets.txt" in row["message"]
        assert "pip install" in report.verdict(row)
        assert f"{name} train" in report.to_markdown(
            {"command": "", "machine": "", "jax": ""}, [row]
        )


def test_program_that_does_not_fit_is_a_row_with_both_sizes(config, monkeypatch):
    def refuse(*arguments):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
            " temporaries (20.00G) exceeds available HBM (15.75G)."
        )

    monkeypatch.setattr(compile_report, "_compile", refuse)
    row = compile_report.of_step(config, target_lib.parse("v5e"), "train", images_per_device=1)
    assert row["status"] == "does not fit"
    assert report.verdict(row).startswith("does not fit, 20 GiB / 15.75 GiB on a device")


@pytest.mark.parametrize("name", ["v5e", "v5e:2x2", "h100:2"])
def test_compiles_for_chips_that_are_not_here(config, name, tmp_path):
    target = target_lib.parse(name)
    if target_lib.compiler_version(target) is None:
        pytest.skip(f"the compiler for {name} is not installed: {target_lib.HINT}")
    (row,) = backends.backends(config, tmp_path, targets=name, steps="evaluate")
    assert row["status"] == "fits", row["message"]
    assert row["device"] in target.chip.kinds
    assert row["devices"] == target.devices
    exchanged = sum(traffic["bytes"] for traffic in row["collectives"].values())
    if row["devices"] == 1:
        assert not exchanged
    else:
        assert exchanged >= row["images"] * 11 * 11 * 4  # the counts of each image
    assert ("mfu" in row) == (target.platform == "tpu")
