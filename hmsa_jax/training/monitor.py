"""Evaluations of a network that trains: when they are due, what comes of them, when training ends.

A step is evaluated once. The record of a training and the figures of the metrics say the same, also
where a process was killed between the two: a run that goes on evaluates what is not on record.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from hmsa_jax.distributed import hosts
from hmsa_jax.distributed.preemption import LastStep, Preemption
from hmsa_jax.inference.evaluation import Evaluation, Stopped
from hmsa_jax.metrics.confusion import class_iou, mean_iou
from hmsa_jax.runtime.background import Background
from hmsa_jax.runtime.console import console
from hmsa_jax.runtime.progress import tell
from hmsa_jax.runtime.sparkline import sparkline
from hmsa_jax.training import length, training_record
from hmsa_jax.training.boards.delivery import MEAN_IOU
from hmsa_jax.training.checkpoint import Checkpoints
from hmsa_jax.training.metric_writer import MetricWriter, NoWriter
from hmsa_jax.training.state import TrainState
from hmsa_jax.training.training_record import Score, TrainingRecord

Scoring = Callable[[dict, dict, Callable[[int], bool]], Evaluation]
"""`(params, batch_stats, stops_after) -> Evaluation`, as `score_source` evaluates."""

Draw = Callable[[dict, dict, Callable[[], bool]], Iterator[tuple[str, np.ndarray]]]
"""`(params, batch_stats, stops) -> ids and pictures`, uint8 `[H, W, 3]`; `stops` says whether no
other one is drawn."""

_WITHOUT_AVERAGE = "without_average"  # before the names of figures
_BATCHES_AHEAD = 1  # how far `score_source` runs ahead of the devices
_SECONDS_BETWEEN_LOOKS = 0.2  # for a signal, while programs are compiled


@dataclasses.dataclass(frozen=True)
class Programs:
    """What evaluates, compiled.

    Attributes:
      score: evaluates weights; in all processes together.
      draw: predicts a few images and draws that; in this process alone. None where none are drawn.
    """

    score: Scoring
    draw: Draw | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides when a training is evaluated and when it ends.

    Attributes:
      steps: the number of the last step.
      period: steps between two evaluations; 0 for none before the last step.
      facts: what scores depend on besides the protocol.
      shown: the protocol whose IoU of each class is written, and by which pictures are predicted.
      best_by: the protocol that says which checkpoint is the best; '' for none.
      patience: evaluations without a better one after which training ends; 0 for never.
      without_average: whether the weights are also scored without their moving average.
      pictures: how many the first process draws at each evaluation.
      wait_minutes: the longest wait for processes that still compile.
    """

    steps: int
    period: Fraction
    facts: Mapping[str, Any]
    shown: str
    best_by: str = ""
    patience: int = 0
    without_average: bool = False
    pictures: int = 0
    wait_minutes: float = hosts.MINUTES

    def is_last(self, step: int, record: TrainingRecord) -> bool:
        """Whether no step comes after this one."""
        return step >= self.steps or self._is_out_of_patience(record)

    def is_due(self, step: int, record: TrainingRecord) -> bool:
        """Whether the state after this step is to be evaluated and is not yet on record."""
        is_last = self.is_last(step, record)
        if not step or not (is_last or length.is_due(step, self.period)):
            return False
        scores = [s for s in record.scores if s.step == step and s.facts == self.facts]
        return not any(score.is_reported or not is_last for score in scores)

    def with_best(self, record: TrainingRecord, *saved: int) -> TrainingRecord:
        """The record with the best of its checkpoints.

        Args:
          record: of the training.
          saved: steps that are saved, or can be.
        """
        best = record.best_of(self.best_by, self.facts, saved) if self.best_by else None
        return dataclasses.replace(record, best=best)

    def bests_otherwise(self, record: TrainingRecord, saved: Collection[int]) -> list[int]:
        """The steps of checkpoints that are the best as they were evaluated before in other ways.

        Args:
          record: of the training.
          saved: steps that are saved.
        """
        ways = [score.facts for score in record.scores if score.facts != self.facts]
        bests = [record.best_of(self.best_by, facts, saved) for facts in ways]
        return sorted({best.step for best in bests if best is not None})

    def why(self, step: int, record: TrainingRecord) -> str:
        """For a user: why training is over at this step."""
        if step >= self.steps:
            return f"All {self.steps} steps are done."
        best = record.best_of(self.best_by, self.facts)
        than = f" than that of step {best.step}, {_shown(best.mean_iou)} %," if best else ""
        return (
            f"evaluate.patience={self.patience} evaluations were not better by {self.best_by}{than}"
            f" so that training ended at step {step}."
        )

    def _is_out_of_patience(self, record: TrainingRecord) -> bool:
        since = record.without_progress(self.best_by, self.facts) if self.patience else 0
        return since >= self.patience > 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an evaluation means for the training.

    Attributes:
      is_best: whether no checkpoint is better.
      ends: whether no step follows: training is over, or a signal has ended the evaluation.
    """

    is_best: bool = False
    ends: bool = False


class Monitor:
    """Evaluates states, writes what comes of it and keeps the record.

    Several processes all call the same; the first one writes.

    Args:
      run: directory of the run.
      record: of the run up to the step at which it goes on, with its best checkpoint.
      plan: what is due when.
      checkpoints: those of the run, of which the best is kept.
      prepare: compiles the programs. It is called in a thread: by `begin`, or where the first
        evaluation is due.
      report: writes the scores of the last evaluation, given that and the state.
      writer: takes the figures.
      preemption: says when to stop.

    Attributes:
      record: of the run, after what was evaluated last.
    """

    def __init__(
        self,
        run: pathlib.Path,
        record: TrainingRecord,
        plan: Plan,
        *,
        checkpoints: Checkpoints,
        prepare: Callable[[], Programs],
        report: Callable[[Evaluation, TrainState], None],
        writer: MetricWriter | NoWriter,
        preemption: Preemption,
    ):
        self._run = run
        self.record = record
        self._plan = plan
        self._checkpoints = checkpoints
        self._prepare = prepare
        self._report = report
        self._writer = writer
        self._preemption = preemption
        self._programs: Background[Programs] | None = None
        self._kept: int | None = None  # the best checkpoint that is known to be kept

    def begin(self) -> None:
        """Lets the programs be compiled while steps run, if there are evaluations among them."""
        if self._plan.period:
            self._programs = self._programs or Background(self._prepare)

    def resume(self, state: TrainState, step: int) -> bool:
        """Evaluates the state that a run goes on from, if it is due.

        Returns:
          Whether steps follow.
        """
        self.settle()
        if not self.is_due(step):
            return True
        outcome = self.evaluate(state, step)
        self.settle()
        return not outcome.ends

    def check(self) -> None:
        """Raises what compiling has raised; to be called when nothing would be lost."""
        if self._programs is not None and self._programs.is_done():
            self._programs.result()

    def is_due(self, step: int) -> bool:
        """Whether the state after this step is to be evaluated and is not yet on record."""
        return self._plan.is_due(step, self.record)

    def is_over(self, step: int) -> bool:
        """Whether a training that is at this step is over, the last evaluation included."""
        return self._plan.is_last(step, self.record) and not self.is_due(step)

    def evaluate(self, state: TrainState, step: int) -> Outcome:
        """Scores the state after a step that is due, and writes and shows the figures.

        It is on record after `settle`.

        Raises:
          FloatingPointError: the network predicts what is not finite.
        """
        begin = time.monotonic()
        try:
            programs = self._wait_for_programs(step)
            evaluations = self._evaluations(programs.score, state, step)
        except Stopped:
            return Outcome(ends=True)
        evaluation = evaluations[""]
        score = Score(step, _mean_ious(evaluation), self._plan.facts)
        saved = [self.record.best.step] if self.record.best else []
        record = self._plan.with_best(self.record.with_score(score), step, *saved)
        ends = self._plan.is_last(step, record)
        self._writer.write(step, self._figures(evaluations))
        self._draw(programs.draw, state, step)
        self._tell(score, record, time.monotonic() - begin)
        if ends:
            self._report(evaluation, state)
            score = dataclasses.replace(score, is_reported=True)
            record = dataclasses.replace(record.with_score(score), end=self._plan.why(step, record))
        self.record = record
        return Outcome(is_best=record.best is not None and record.best.step == step, ends=ends)

    def settle(self) -> None:
        """Puts on record what was evaluated, once the best checkpoint is written to the end.

        To be called after the state is saved, if it is the best.
        """
        best = self.record.best
        if best is not None and best.step != self._kept:
            self._checkpoints.keep_best(best.step)
            self._checkpoints.wait()
            self._kept = best.step
        self._writer.flush()
        if jax.process_index() == 0:
            training_record.write(self._run, self.record)

    def describe_end(self, step: int) -> str:
        """For a user: why training is over at this step, and which checkpoint is the best."""
        why, best = self._plan.why(step, self.record), self.record.best
        if best is None:
            return why
        return (
            f"{why} The best checkpoint by {best.protocol} is that of step {best.step}, with"
            f" {_shown(best.mean_iou)} % mean IoU; --step=best takes it."
        )

    def _draw(self, draw: Draw | None, state: TrainState, step: int) -> None:
        """Writes the pictures of a state, unless a signal came; all but the first process wait."""
        if not self._plan.pictures:
            return
        if draw is not None:
            drawn = draw(
                state.eval_params, state.eval_batch_stats, lambda: self._preemption.requested
            )
            self._writer.show(step, {f"pictures/{name}": picture for name, picture in drawn})
        # Else collectives of the next step would wait, and not as long.
        hosts.wait_for_all(f"pictures of step {step}", self._plan.wait_minutes)

    def _evaluations(self, scoring: Scoring, state: TrainState, step: int) -> dict[str, Evaluation]:
        """What is scored of a state: its weights to predict with, '', and maybe those without EMA.

        Raises:
          Stopped: a signal came, to whichever process; in all of them.
        """
        weights = {"": (state.eval_params, state.eval_batch_stats)}
        if self._plan.without_average:
            weights[_WITHOUT_AVERAGE] = (state.params, state.batch_stats)
        return {
            name: scoring(
                *of_name,
                LastStep(self._preemption, _BATCHES_AHEAD, f"evaluation {step} {name}").is_reached,
            )
            for name, of_name in weights.items()
        }

    def _wait_for_programs(self, step: int) -> Programs:
        """The compiled programs, in all processes; Stopped if a signal comes before."""
        if self._programs is None:
            self._programs = Background(self._prepare)
        elif not self._programs.is_done():
            tell(f"The evaluation of step {step} waits until its programs are compiled ...")
        while not self._programs.is_done(_SECONDS_BETWEEN_LOOKS):
            if self._preemption.requested_of_any():
                break
        asked = "stop" if self._preemption.requested else ""
        moment = f"evaluation of step {step}"
        if any(hosts.gathered(moment, asked, self._plan.wait_minutes)):
            raise Stopped
        return self._programs.result()

    def _figures(self, evaluations: Mapping[str, Evaluation]) -> dict[str, float]:
        """The figures of an evaluation by name, in percent; what is not known is left out."""
        figures = {}
        for kind, evaluation in evaluations.items():
            prefix = f"{kind}/" if kind else ""
            for protocol, value in _mean_ious(evaluation).items():
                figures[f"{prefix}{MEAN_IOU}{protocol}"] = value
            ious = class_iou(evaluation.confusions.totals[self._plan.shown])
            for name, iou in zip(evaluation.confusions.classes, ious, strict=True):
                figures[f"{prefix}iou/{name}"] = _percent(iou)
        return {name: value for name, value in figures.items() if value is not None}

    def _tell(self, score: Score, record: TrainingRecord, seconds: float) -> None:
        found = ", ".join(
            f"{_shown(value)} {name}{self._curve(name, record)}"
            for name, value in score.mean_iou.items()
        )
        best = record.best
        of_best = (
            f"; best {_shown(best.mean_iou)} {best.protocol}, step {best.step}" if best else ""
        )
        tell(f"Step {score.step}, evaluated in {seconds:.0f} s, mean IoU: {found}{of_best}")

    def _curve(self, protocol: str, record: TrainingRecord) -> str:
        """The mean IoUs of comparable evaluations so far, for the protocol that counts."""
        if protocol != self._plan.shown:
            return ""
        scores = (s.mean_iou.get(protocol) for s in record.scores if s.facts == self._plan.facts)
        curve = sparkline([value for value in scores if value is not None], console.encoding)
        return f" {curve}" if curve else ""


def _mean_ious(evaluation: Evaluation) -> dict[str, float | None]:
    totals = evaluation.confusions.totals
    return {name: _percent(mean_iou(confusion)) for name, confusion in totals.items()}


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 4)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
