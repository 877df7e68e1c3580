"""Evaluations among the steps of a training: which there are, what is kept, when it ends.

The network is a number that grows by 1 a step, and what an evaluation finds is given.
"""

import contextlib
import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.experiment import monitoring
from hmsa_jax.inference.evaluation import Evaluation, Stopped
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.performance.profiling import Profile
from hmsa_jax.training import checkpoint, checkpoint_reading, training_record
from hmsa_jax.training.checkpoint import Checkpoints
from hmsa_jax.training.length import Length
from hmsa_jax.training.loop import Loop
from hmsa_jax.training.metric_writer import MetricWriter
from hmsa_jax.training.monitor import Monitor, Plan, Programs
from hmsa_jax.training.state import TrainState
from tests import event_files

PLAN = Plan(steps=12, period=2, facts={"split": "validation"}, shown="p", best_by="p")
SAVE_EVERY = 5


class NoLog(contextlib.nullcontext):
    """Stands for `StepLog`."""

    def __enter__(self):
        return self

    def add(self, step, metrics):
        pass

    def flush(self):
        pass

    def keep_up(self):
        pass

    def waiting(self, step):
        return contextlib.nullcontext()

    def write(self):
        pass

    def check_finite(self, checkpoints):
        pass

    def paused(self):
        return contextlib.nullcontext()


def a_state(step):
    number = jax.device_put(jnp.float32(step), sharding.replicated(sharding.make_mesh(8, 1)))
    return TrainState({"w": number}, {}, (), number.astype(jnp.int32), {"w": number + 100})


@jax.jit
def train_step(state, batch):
    grown = jax.tree.map(lambda x: x + 1, (state.params, state.ema_params))
    return dataclasses.replace(state, params=grown[0], ema_params=grown[1], step=state.step + 1), {}


def found(percent):
    """An evaluation whose mean IoU is that: one of two classes is never predicted right."""
    right = round(100 * percent)
    counts = np.array([[right, 0], [10000 - right, 0]], np.int32)[None, None]
    return Evaluation(ImageConfusions(("a",), ("p",), ("x", "y"), counts), {})


def mean_iou(percent):
    """Of class x, whose union is all pixels, and of class y, which has 0."""
    return percent / 2


class Run:
    """A training in a directory, which is started again and again.

    Args:
      directory: of the run.
      scores: step -> percent.
      interrupted: the step in whose evaluation a signal comes.
    """

    def __init__(self, directory, scores, interrupted=None):
        self.directory = directory
        self.scores = scores
        self.interrupted = interrupted
        self.scored, self.reported = [], []
        self.draw = None

    def score(self, params, batch_stats, stops_after):
        step = int(jax.device_get(params["w"]))
        if step - 100 == self.interrupted:
            self.interrupted = None
            os.kill(os.getpid(), signal.SIGTERM)
        if stops_after(2):
            raise Stopped
        self.scored.append(step)
        return found(self.scores[step % 100])

    def start(self, plan=PLAN):
        """Goes on from the newest checkpoint; returns the step that it comes to."""
        steps = checkpoint_reading.steps_in(self.directory / "checkpoints")
        step = steps[-1] if steps else 0
        record = monitoring.record_at(self.directory, plan, Length(plan.steps, 8, 8), step)
        is_due = plan.is_due(step, record)
        if plan.is_last(step, record) and not is_due:
            return step
        evaluated = {score.step for score in record.scores} - ({step} if is_due else set())
        state = checkpoint.restore(self.directory, "run", a_state(0))[0] if step else a_state(0)
        with (
            Preemption() as preemption,
            Checkpoints(self.directory, keep=1) as checkpoints,
            MetricWriter(self.directory, step, evaluated) as writer,
        ):
            monitor = Monitor(
                self.directory,
                record,
                plan,
                checkpoints=checkpoints,
                prepare=lambda: Programs(self.score, self.draw),
                report=lambda evaluation, state: self.reported.append(int(state.step)),
                writer=writer,
                preemption=preemption,
            )
            if monitor.resume(state, step):
                batch = {
                    "image": np.zeros((8, 8, 8, 3), np.uint8),
                    "label": np.zeros((8, 8, 8), np.uint8),
                }
                _, step = Loop(plan.steps, 100, SAVE_EVERY).run(
                    state,
                    step,
                    iter(lambda: batch, None),
                    sharding.make_mesh(8, 1),
                    compile_step=lambda state, batch: (train_step, None),
                    make_log=lambda work: NoLog(),
                    checkpoints=checkpoints,
                    monitor=monitor,
                    profile=Profile("", self.directory),
                    preemption=preemption,
                )
            self.is_over = monitor.is_over(step)
        return step

    @property
    def record(self):
        return training_record.read(self.directory)

    @property
    def kept(self):
        return checkpoint_reading.steps_in(self.directory / "checkpoints")

    @property
    def written(self):
        """Steps and mean IoUs in the metrics."""
        lines = (self.directory / "metrics.jsonl").read_text().splitlines()
        return [(row["step"], row["mean_iou/p"]) for row in map(json.loads, lines)]


SCORES = {2: 20, 4: 40, 6: 30, 8: 30, 10: 20, 12: 36}


def test_the_best_is_kept_wherever_it_lies(tmp_path):
    """Also between two steps that are saved anyway; of the moving average."""
    run = Run(tmp_path, SCORES)
    assert run.start() == 12
    assert run.is_over
    assert run.scored == [102, 104, 106, 108, 110, 112]
    assert run.kept == [4, 12]
    assert run.record.best == training_record.Best(4, "p", mean_iou(40))
    assert run.written == [(step, mean_iou(percent)) for step, percent in SCORES.items()]
    assert run.reported == [12]
    assert run.record.end == "All 12 steps are done."
    assert float(checkpoint.read_weights(tmp_path, "run", 4).params["w"]) == 104


def test_training_ends_without_progress_and_goes_on_with_more_patience(tmp_path):
    run = Run(tmp_path, SCORES)
    for _ in range(2):  # once more changes nothing
        assert run.start(dataclasses.replace(PLAN, patience=2)) == 8
        assert run.is_over
        assert run.record.end == (
            "evaluate.patience=2 evaluations were not better by p than that of step 4, 20.0 %,"
            " so that training ended at step 8."
        )
        assert (run.reported, run.kept, run.scored[-1]) == ([8], [4, 8], 108)
    assert run.start(dataclasses.replace(PLAN, patience=5)) == 12
    assert run.scored == [102, 104, 106, 108, 110, 112]
    assert run.written == [(step, mean_iou(percent)) for step, percent in SCORES.items()]
    assert run.record.end == "All 12 steps are done."


@pytest.mark.parametrize("step", [6, 10, 12])
def test_an_interrupted_evaluation_is_done_again_and_nothing_twice(step, tmp_path):
    """At a step that is not saved otherwise, at one that is, and at the last one."""
    run = Run(tmp_path, SCORES, interrupted=step)
    assert run.start() == step
    assert not run.is_over
    assert [score.step for score in run.record.scores] == list(range(2, step, 2))
    assert run.kept == [4, step]
    assert run.start() == 12
    assert run.scored == [102, 104, 106, 108, 110, 112]
    assert run.written == [(s, mean_iou(percent)) for s, percent in SCORES.items()]
    assert run.reported == [12]


def test_what_a_kill_leaves_between_metrics_and_record_is_made_whole(tmp_path, monkeypatch):
    """The figures of step 10 are written, its score is not on record: it is scored again."""
    run = Run(tmp_path, SCORES)
    write = training_record.write

    def killed(directory, record):
        if record.scores and record.scores[-1].step == 10:
            raise SystemExit
        write(directory, record)

    with monkeypatch.context() as patch:
        patch.setattr(training_record, "write", killed)
        with pytest.raises(SystemExit):
            run.start()
    assert (run.kept, run.written[-1][0], run.record.scores[-1].step) == ([4, 10], 10, 8)
    assert run.start() == 12
    assert run.scored == [102, 104, 106, 108, 110, 110, 112]
    assert run.written == [(step, mean_iou(percent)) for step, percent in SCORES.items()]


def test_scores_of_another_split_are_not_compared(tmp_path):
    run = Run(tmp_path, SCORES, interrupted=8)
    assert run.start() == 8
    run.scores = dict.fromkeys(SCORES, 10)
    other = dataclasses.replace(PLAN, facts={"split": "test"}, patience=3)
    assert run.start(other) == 12
    assert run.record.best == training_record.Best(8, "p", mean_iou(10))
    assert run.kept == [8, 12]
    assert other.bests_otherwise(run.record, range(20)) == [max(SCORES, key=SCORES.get)]
    assert other.bests_otherwise(run.record, [12]) == []
    assert PLAN.bests_otherwise(run.record, range(20)) == [8]


def test_without_evaluations_among_the_steps_there_is_one(tmp_path):
    run = Run(tmp_path, SCORES)
    assert run.start(dataclasses.replace(PLAN, period=0, best_by="")) == 12
    assert (run.scored, run.reported, run.record.best) == ([112], [12], None)


def test_the_weights_themselves_are_scored_where_asked(tmp_path):
    run = Run(tmp_path, SCORES)
    run.start(dataclasses.replace(PLAN, period=6, without_average=True))
    assert run.scored == [106, 6, 112, 12]
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert row == {
        "step": 6,
        "mean_iou/p": 15.0,
        "iou/x": 30.0,
        "iou/y": 0.0,
        "without_average/mean_iou/p": 15.0,
        "without_average/iou/x": 30.0,
        "without_average/iou/y": 0.0,
    }


def test_pictures_are_drawn_of_what_is_scored_at_each_evaluation(tmp_path, capsys):
    """By the moving average; a signal leaves out those that are not drawn yet."""
    run = Run(tmp_path, SCORES)

    def draw(params, batch_stats, stops):
        step = int(jax.device_get(params["w"]))
        for name in ("a", "b <script>"):
            if stops():
                return
            yield name, np.full((3, 4, 3), step, np.uint8)
            if step == 108:
                os.kill(os.getpid(), signal.SIGTERM)

    run.draw = draw
    plan = dataclasses.replace(PLAN, pictures=2)
    assert run.start(plan) == 9  # the evaluation is whole, and one step is under way
    assert run.start(plan) == 12
    shown = event_files.pictures(tmp_path)
    assert shown.keys() == {
        (step, f"pictures/{name}") for step in SCORES for name in ("a", "b <script>")
    } - {(8, "pictures/b <script>")}
    assert all(np.abs(picture - (100.0 + step)).max() < 2 for (step, _), picture in shown.items())
    output = capsys.readouterr().out
    assert "mean IoU: 10.0 p; best 10.0 p, step 2\n" in output
    assert "mean IoU: 18.0 p ▁█▅▅▁▇; best 20.0 p, step 4\n" in output


def test_what_cannot_be_compiled_ends_the_run_before_its_first_evaluation(tmp_path):
    class Failing(Run):
        @property
        def score(self):
            raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        Failing(tmp_path, SCORES).start(dataclasses.replace(PLAN, period=12))
    assert checkpoint_reading.steps_in(tmp_path / "checkpoints") == [5]
