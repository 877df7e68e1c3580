"""The train command as a user runs it: one device, a process of its own, a short network."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

import main
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.report import count_file
from hmsa_jax.training import training_record
from tests import event_files, quick_compilation, short_network

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 40
SETTINGS = {
    "steps": STEPS,
    "log_every": 1,
    "data.name": "camvid",
    "data.batch_size": 2,
    "data.crop_size": (64, 64),
    "data.scale_range": (0.5, 2.0),
    "model.trunk": "short",
    "model.ocr_channels": 16,
    "model.ocr_key_channels": 8,
    "model.head_channels": 8,
    "model.dropout": 0.5,
    "checkpoint.every": 5,
    "evaluate.protocols": ("single", "hierarchical:0.5,1"),
}
EVALUATIONS = [12, 24, 36, STEPS]
EVALUATED = {
    "evaluate__every": "4 epochs",  # of 6 images and batches of 2
    "checkpoint__keep_best": "single",
    "checkpoint__keep_every": 20,
}


@pytest.fixture(scope="module")
def command(camvid_tree, tmp_path_factory):
    """Starts a command with the settings above, changed by those given."""
    scratch = tmp_path_factory.mktemp("train")
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": quick_compilation.FLAGS,
    }

    def typed(verb, workdir, *flags, **changes):
        settings = SETTINGS | {
            "data.dir": str(camvid_tree),
            "data.cache_dir": str(scratch / "data"),
            **{name.replace("__", "."): value for name, value in changes.items()},
        }
        fields = (f"--config.{name}={value}" for name, value in settings.items())
        has_page = verb != "train" or "evaluate__every" in changes
        page = () if has_page else ("--nopage",)  # it takes as long as the training
        return [verb, f"--workdir={workdir}", *page, *flags, *fields]

    def start(*arguments, **changes):
        return subprocess.Popen(
            [sys.executable, "-m", "tests.short_network", *typed(*arguments, **changes)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    start.typed = typed
    start.compiled = scratch / "compiled"
    return start


def finish(process):
    """Waits; returns exit status and output, its lines joined."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, " ".join(output.split())


def lines(workdir, having="loss"):
    """What metrics.jsonl holds, without the figures of speed, which no state decides.

    Of the steps, or of the evaluations: what has a certain figure.
    """
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    rows = [row for row in rows if having in row]
    return [{k: v for k, v in row.items() if not is_of_time(k)} for row in rows]


def is_of_time(name):
    return name.endswith("_per_second") or name.startswith("time/")


def saved_arrays(workdir, step):
    """All arrays of a checkpoint, in order."""
    with ocp.StandardCheckpointer() as reader:
        tree = reader.restore(workdir / "checkpoints" / str(step) / "default")
    return ocp.tree.to_flat_dict(tree)


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory):
    """The only run with evaluations among its steps, at which the others do not look."""
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    status, output = finish(command("train", workdir, **EVALUATED))
    assert status == 0, output
    return workdir, output


def test_run_leaves_all_that_is_promised(command, uninterrupted):
    workdir, output = uninterrupted
    assert [row["step"] for row in lines(workdir)] == list(range(1, STEPS + 1))
    assert {"loss", "main", "aux", "grad_norm", "learning_rate"} <= set(lines(workdir)[0])
    assert lines(workdir)[-1]["loss"] < lines(workdir)[0]["loss"]
    shown = event_files.pictures(workdir)
    assert [step for step, _ in shown] == [step for step in EVALUATIONS for _ in range(4)]
    assert {tag for _, tag in shown} == {f"pictures/val{i}" for i in range(5)} - {"pictures/val2"}
    record = training_record.read(workdir)
    scores = {score.step: score.mean_iou["single (1)"] for score in record.scores}
    assert list(scores) == EVALUATIONS
    assert record.best.step == max(scores, key=scores.get)
    before = {step: [scores[s] for s in EVALUATIONS if s < step] for step in EVALUATIONS}
    best_so_far = {step for step in EVALUATIONS if scores[step] > max(before[step], default=-1)}
    newest = sorted({*best_so_far, STEPS - 5, STEPS})[-2:]
    kept = {20, *newest, record.best.step}
    assert {int(p.name) for p in (workdir / "checkpoints").iterdir()} == kept
    assert "has 40 steps, 13.33 epochs of 6 images, and an evaluation every 12 steps" in output
    assert f"The best checkpoint by single (1) is that of step {record.best.step}" in output
    result = json.loads((workdir / "evaluation" / f"validation-{STEPS}.json").read_text())
    assert list(result["protocols"]) == ["single (1)", "hierarchical (0.5, 1)"]
    for figures in result["protocols"].values():
        assert np.sum(figures["confusion"]) == 5 * 64 * (96 - 4)
        assert len(figures["images"]) == 5
        assert np.sum(figures["calibration"]["count"]) == 5 * 64 * (96 - 4)
        assert 0 < figures["boundary"]["mean_boundary_iou"] <= 100
    counts = count_file.read(workdir / "evaluation" / f"validation-{STEPS}.npz")
    assert {name: total.tolist() for name, total in counts.totals.items()} == {
        name: figures["confusion"] for name, figures in result["protocols"].items()
    }
    assert "mean IoU" in output
    assert f"The page of run: {workdir}/report.html (" in output
    page = (workdir / "report.html").read_text()
    assert page.count('<li class="card"') == 5
    assert {"<dt>started</dt>", "<dt>time in steps</dt>", "<dt>trained with</dt>"} <= set(
        re.findall("<dt>.*?</dt>", page)
    )
    assert list(command.compiled.iterdir())  # what makes the next start fast
    assert not list(workdir.rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_and_resumed_equals_uninterrupted(command, uninterrupted, tmp_path, number):
    """SIGTERM saves and exits, a kill loses steps; the same command goes on to the same bits.

    The run beside it was evaluated now and then, which changes no bit.
    """
    reference, _ = uninterrupted
    workdir = tmp_path / "run"
    process = command("train", workdir)
    while len(lines(workdir)) < 8 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    status, output = finish(process)
    stopped_at = len(lines(workdir))
    assert 8 <= stopped_at < STEPS
    if number == signal.SIGTERM:
        assert status == 0, output
        assert f"Stopped at step {stopped_at}" in output

    process = command("train", workdir)
    if number == signal.SIGTERM:  # again, when the last step is done and its checkpoint is not
        while len(lines(workdir)) < STEPS and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
    status, output = finish(process)
    assert status == 0, output
    assert "Traceback" not in output
    if number == signal.SIGTERM:
        assert f"Resuming at step {stopped_at}" in output
        assert f"Stopped at step {STEPS}, saved in" in output
        assert "goes on, with the evaluation of that step" in output
    assert lines(workdir) == lines(reference)
    ours, theirs = saved_arrays(workdir, STEPS), saved_arrays(reference, STEPS)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 100
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=str(name))


def test_evaluations_are_on_record_and_in_the_metrics(uninterrupted):
    workdir, output = uninterrupted
    rows, record = lines(workdir, "mean_iou/single (1)"), training_record.read(workdir)
    assert [row["step"] for row in rows] == EVALUATIONS
    for row, score in zip(rows, record.scores, strict=True):
        for name, value in score.mean_iou.items():
            assert row[f"mean_iou/{name}"] == value
            assert f"{value:.1f} {name}" in output
        ious = [value for name, value in row.items() if name.startswith("iou/")]
        assert np.mean(ious) == pytest.approx(row["mean_iou/single (1)"], abs=1e-3)
    of_single = {score.step: score.mean_iou["single (1)"] for score in record.scores}
    assert record.best.mean_iou == max(of_single.values()) == of_single[record.best.step]
    assert record.end == f"All {STEPS} steps are done."


def test_evaluate_command_repeats_the_results(command, uninterrupted):
    """Of the last step to the last byte, of the best one those that are on record."""
    workdir, _ = uninterrupted
    path = workdir / "evaluation" / f"validation-{STEPS}.json"
    counts = path.with_suffix(".npz")
    before, counted = path.read_text(), count_file.read(counts).counts
    path.unlink()
    counts.unlink()
    status, output = finish(command("evaluate", workdir))
    assert status == 0, output
    assert path.read_text() == before
    np.testing.assert_array_equal(count_file.read(counts).counts, counted)

    status, output = finish(command("evaluate", workdir, "--step=best"))
    assert status == 0, output
    best = training_record.read(workdir).best
    found = json.loads((workdir / "evaluation" / f"validation-{best.step}.json").read_text())
    assert found["protocols"][best.protocol]["mean_iou"] == best.mean_iou


def test_attention_command_scores_what_evaluate_does(command, uninterrupted):
    """And controls beside it, of the same images and the same network."""
    workdir, _ = uninterrupted
    theirs = json.loads((workdir / "evaluation" / f"validation-{STEPS}.json").read_text())
    status, output = finish(command("attention", workdir, "--protocol=hierarchical:0.5,1"))
    assert status == 0, output
    found = json.loads((workdir / "attention" / f"validation-{STEPS}.json").read_text())
    assert found["weights"] == theirs["weights"]
    assert found["protocol"] == "hierarchical (0.5, 1)"
    itself, alone = found["protocols"]["hierarchical (0.5, 1)"], found["protocols"]["scale 1 alone"]
    for ours, name in ((itself, "hierarchical (0.5, 1)"), (alone, "single (1)")):
        of_evaluation = np.array(theirs["protocols"][name]["confusion"])
        moved = np.abs(np.array(ours["confusion"]) - of_evaluation).sum() / of_evaluation.sum()
        assert moved < 1e-3  # rounding may decide a tie between two classes
    assert f"{itself['mean_iou']:.1f}" in output
    assert len(found["protocols"]) == 9


def test_weights_go_out_and_come_in(command, uninterrupted, tmp_path):
    """Converted to a file and back, a network scores what it scored."""
    reference, _ = uninterrupted
    file, workdir = tmp_path / "weights.pth", tmp_path / "run"
    status, output = finish(command("convert", reference, f"--to={file}"))
    assert status == 0, output
    status, output = finish(command("convert", workdir, f"--from={file}"))
    assert status == 0, output
    status, output = finish(command("evaluate", workdir))
    assert status == 0, output
    ours = json.loads((workdir / "evaluation" / "validation-0.json").read_text())
    theirs = json.loads((reference / "evaluation" / f"validation-{STEPS}.json").read_text())
    assert ours["protocols"] == theirs["protocols"]


def test_run_starts_from_another_run(command, uninterrupted, tmp_path):
    """A network without attention takes over all that it has in common with one that has it."""
    reference, _ = uninterrupted
    status, output = finish(
        command(
            "train",
            tmp_path / "run",
            init_from=reference,
            steps=2,
            model__attention="none",
            objective__scales=(1.0,),
        )
    )
    assert status == 0, output
    assert re.search(r"\d{2,} tensors from .*\. 11 in the source only: .*attention_head", output)
    assert "in the network only" not in output
    first = lines(tmp_path / "run")[0]["loss"]
    assert first < lines(reference)[0]["loss"]

    absent = tmp_path / "absent"
    status, output = finish(command("train", tmp_path / "other", init_from=absent))
    assert status == 1
    assert f"init_from is {absent}, which holds no checkpoint" in output
    assert not (tmp_path / "other").exists()


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(command, tmp_path):
    workdir = tmp_path / "run"
    changes = {"optimizer__learning_rate": 1e30, "checkpoint__every": 1}
    status, output = finish(command("train", workdir, **changes))
    assert status == 1
    saved = [int(p.name) for p in (workdir / "checkpoints").iterdir()]
    bad_step = max(saved) + 1
    assert f"step {bad_step} is not finite" in output
    assert f"The last good checkpoint is that of step {max(saved)}" in output
    for name, value in saved_arrays(workdir, max(saved)).items():
        assert np.isfinite(value).all(), name


def refused(command, capsys, *arguments, **changes):
    """What a command says that ends before anything is compiled: in this process."""
    with pytest.raises(SystemExit) as end, TRUNKS.holding("short", short_network.TRUNK):
        main.main(command.typed(*arguments, data__batch_size=8, **changes))  # on eight devices
    captured = capsys.readouterr()
    return end.value.code, " ".join((captured.out + captured.err).split())


def test_workdir_of_another_config_is_refused(command, uninterrupted, capsys):
    workdir, _ = uninterrupted
    status, output = refused(command, capsys, "train", workdir, seed=1, log_every=7)
    assert status == 1
    assert "belongs to another config" in output
    assert "seed: 0 there, 1 here" in output
    assert "log_every" not in output  # no part in the result, so it may change


def test_errors_come_before_anything_expensive(command, tmp_path, capsys):
    workdir = tmp_path / "run"
    wrong = {"data__crop_size": (8, 8), "model__trunk": "w49"}
    status, output = refused(command, capsys, "train", workdir, **wrong)
    assert status == 1
    assert "data.crop_size is (8, 8)" in output
    assert "model.trunk is 'w49'; expected one of ('tiny', 'w18_small'" in output
    assert not workdir.exists()
    status, output = refused(command, capsys, "train", workdir, optimizer__learning_rat=1)
    assert status == 2
    assert "--config.optimizer.learning_rat: no such field" in output
    assert "did you mean optimizer.learning_rate?" in output
    weights = {"objective__class_weights": (1.0, 2.0), "objective__main_loss": "cross_entropy"}
    status, output = refused(command, capsys, "train", workdir, **weights)
    assert status == 1
    assert "class_weights has 2 numbers, but camvid has 11 classes" in output
    assert not workdir.exists()
    status, output = refused(command, capsys, "train", workdir, data__dir="/nowhere")
    assert status == 1
    assert "/nowhere" in output
    status, output = refused(command, capsys, "evaluate", tmp_path / "empty")
    assert status == 1
    assert "which holds no checkpoint" in output
    assert not (tmp_path / "empty").exists()
