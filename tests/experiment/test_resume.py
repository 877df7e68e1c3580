"""From which step the commands go on, and what a signal does between the steps and the scores."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from hmsa_jax.auto_labels import labelling
from hmsa_jax.experiment import autolabel, convert, evaluation, experiment, run_directory, train
from hmsa_jax.inference.evaluation import Stopped
from hmsa_jax.training import checkpoint, checkpoint_reading
from hmsa_jax.weights import weight_file
from tests.experiment.test_start import (
    cache,
    config,
    config_of,
    no_scoring,
    nothing_is_compiled,
    pictures,
)

__all__ = ["cache", "config", "nothing_is_compiled", "pictures"]  # fixtures

pytestmark = pytest.mark.usefixtures("short_trunk")

STEPS = 3


@pytest.fixture(scope="module")
def stepped(pictures, cache, tmp_path_factory):
    """A run whose checkpoints of steps 1, 2 and 3 hold their step in every array."""
    config = config_of(pictures, cache)
    config.steps = STEPS
    workdir = tmp_path_factory.mktemp("stepped")
    assembled = experiment.assemble(config)
    run_directory.claim(workdir, config, assembled.label_spec)
    state = assembled.initial_state()
    with checkpoint.Checkpoints(workdir, keep=STEPS) as checkpoints:
        for step in range(1, STEPS + 1):
            checkpoints.save(jax.tree.map(lambda x, n=step: x * 0 + x.dtype.type(n), state), step)
    return workdir


@pytest.fixture
def run(stepped, tmp_path, config):
    config.steps = STEPS
    return shutil.copytree(stepped, tmp_path / "run")


@pytest.fixture
def taken(monkeypatch):
    """What the commands got of a checkpoint: (its step, the number in its arrays)."""
    taken = []

    def number_in(tree):
        (number,) = {float(x.ravel()[0]) for x in jax.tree.leaves(jax.device_get(tree))}
        return number

    def no_steps(experiment, workdir, batches, state, start_step, *others):
        batches.close()
        taken.append((start_step, number_in(state)))
        return state, start_step

    def no_report(config, workdir, evaluation, state):
        taken.append((int(state.step), number_in(state)))

    def no_labels(source, mine, target, teacher, least):
        taken.append(number_in(teacher._weights))
        return []  # none is unreadable

    monkeypatch.setattr(train, "_run_steps", no_steps)
    monkeypatch.setattr(evaluation, "prepare", no_scoring)
    monkeypatch.setattr(evaluation, "report", no_report)
    monkeypatch.setattr(labelling, "label", no_labels)
    return taken


def damage(run, step):
    (run / "checkpoints" / str(step) / "default" / "manifest.ocdbt").write_bytes(b"")


def commands(config, run, out, **options):
    """Every command that reads a run, by name."""
    images = f"{config.data.dir}/images"
    return {
        "evaluate": lambda: evaluation.evaluate(config, run, **options),
        "autolabel": lambda: autolabel.autolabel(
            config, run, images, out / "labels", threshold=0.9, **options
        ),
        "convert": lambda: convert.convert_to(config, run, out / "weights.safetensors", **options),
        "train": lambda: train.train(config, run, **options),
    }


def test_every_command_takes_the_step_that_is_named(config, run, taken, tmp_path):
    for command in commands(config, run, tmp_path, step=2).values():
        command()
    assert taken == [(2, 2.0), 2.0, (2, 2.0)]
    tensors = weight_file.read(tmp_path / "weights.safetensors")
    assert {float(x.ravel()[0]) for n, x in tensors.items() if x.dtype == np.float32} == {2.0}
    assert checkpoint_reading.steps_in(run / "checkpoints") == [1, 2]
    assert (run / "checkpoints" / "set_aside" / "3").is_dir()
    (tmp_path / "weights.safetensors").unlink()
    for name, command in commands(config, run, tmp_path, step=3).items():
        with pytest.raises(FileNotFoundError, match=r"--step is 3, but .* holds steps 1, 2"):
            command()
        assert name


def test_every_command_passes_over_a_damaged_step_with_a_word(config, run, taken, tmp_path, capsys):
    damage(run, 3)
    for name, command in commands(config, run, tmp_path).items():
        command()
        output = " ".join(capsys.readouterr().out.split())
        assert f"Checkpoint 3 of {run} is damaged: it cannot be read" in output, name
        assert "Taking step 2, which is good." in output, name
    assert taken == [(2, 2.0), 2.0, (2, 2.0)]
    for step in (1, 2):
        damage(run, step)
    with pytest.raises(ValueError, match=r"holds damaged checkpoints: step 1 .*; step 2 "):
        train.train(config, run)


def test_a_signal_loses_no_save_and_stops_before_the_scores(config, run, monkeypatch, capsys):
    """It comes when the last step is done, and its checkpoint is not."""
    (run / "checkpoints" / "3").rename(run / "3")
    close = checkpoint.Checkpoints.__exit__

    def closing(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        close(*arguments)

    def last_step(experiment, workdir, batches, state, start_step, checkpoints, *others):
        batches.close()
        checkpoints.save(state, STEPS)
        return state, STEPS

    monkeypatch.setattr(train, "_run_steps", last_step)
    monkeypatch.setattr(checkpoint.Checkpoints, "__exit__", closing)
    before = signal.getsignal(signal.SIGTERM)
    assert not train.train(config, run)
    assert signal.getsignal(signal.SIGTERM) == before
    assert checkpoint.read_weights(run, "--workdir").step == STEPS
    assert f"Stopped at step {STEPS}, saved in {run}. The same command" in capsys.readouterr().out


def signalled_scoring(experiment, scored):
    """Stands for `evaluation.prepare`: a signal comes with the first batch."""

    def score(params, batch_stats, stops_after):
        assert not stops_after(1)
        os.kill(os.getpid(), signal.SIGTERM)
        if stops_after(2):
            raise Stopped
        raise AssertionError("it goes on")

    return score


def test_a_first_signal_ends_the_evaluation_which_is_done_again(config, run, monkeypatch, capsys):
    monkeypatch.setattr(evaluation, "prepare", signalled_scoring)
    with pytest.raises(KeyboardInterrupt, match="Stopped; no score is written"):
        evaluation.evaluate(config, run)
    assert not train.train(config, run)
    assert f"Stopped at step {STEPS}, saved in {run}. The same" in (
        output := capsys.readouterr().out
    )
    assert "goes on, with the evaluation of that step." in " ".join(output.split())
    monkeypatch.setattr(evaluation, "prepare", no_scoring)
    for _ in range(2):
        assert train.train(config, run)
        (line,) = (run / "metrics.jsonl").read_text().splitlines()
        assert json.loads(line)["mean_iou/single (1)"] == 100
    assert "All 3 steps are done. Its scores are on record" in capsys.readouterr().out
    assert (run / "evaluation" / "validation-3.json").exists()


def test_an_unfinished_convert_is_neither_a_checkpoint_nor_forgotten(config, run, tmp_path):
    """What a kill leaves: the promise and the directory that orbax writes to."""
    convert.convert_to(config, run, tmp_path / "a.pth")
    new = tmp_path / "new"
    label_spec = experiment.assemble(config).label_spec
    run_directory.claim(new, config, label_spec, weights_of=tmp_path / "a.pth")
    (new / "checkpoints" / "0.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    for name, command in commands(config, new, tmp_path).items():
        with pytest.raises((FileNotFoundError, ValueError), match=r"holds no (whole )?checkpoint"):
            command()
        assert name
    convert.convert_from(config, new, tmp_path / "a.pth")
    assert checkpoint.read_weights(new, "--workdir").step == 0
