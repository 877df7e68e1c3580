"""The evaluations of a run that trains, as its config and its directory have them."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import evaluation, protocols, validation_pictures
from hmsa_jax.experiment.experiment import Experiment
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import pipeline
from hmsa_jax.performance import profiling
from hmsa_jax.report import charts
from hmsa_jax.runtime import versions
from hmsa_jax.runtime.files import store
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint_reading, training_record
from hmsa_jax.training.length import Length
from hmsa_jax.training.monitor import Plan, Programs
from hmsa_jax.training.training_record import TrainingRecord

_CURVES = "mean_iou.svg"


def check(config: ml_collections.ConfigDict) -> None:
    """Makes sure, before data are built, that what is asked for can come of a training.

    Args:
      config: a checked config.

    Raises:
      ValueError: the best checkpoint is chosen by a protocol that is not evaluated, or no step is
        one of those to trace.
    """
    if config.steps:
        profiling.check(config.profile, config.steps)
    names = [protocol.name for protocol in protocols.of_evaluation(config)]
    best_by = _best_by(config)
    if best_by and best_by not in names:
        raise ValueError(
            f"checkpoint.keep_best is {config.checkpoint.keep_best!r}, which is none of the"
            f" evaluate.protocols of this network: {', '.join(names)}; name one of them, or add it"
        )


def length_of(config: ml_collections.ConfigDict, images: int) -> Length:
    """How long the training of a config is.

    Args:
      config: a checked config.
      images: of the train split.

    Raises:
      ValueError: its epochs are less than a step, its evaluations less than a step apart, or it
        ends before the steps to trace.
    """
    batch_size = config.data.batch_size
    if config.epochs:
        length = Length.of_epochs(config.epochs, images, batch_size)
    else:
        length = Length(config.steps, images, batch_size)
    length.period(config.evaluate.every)
    profiling.check(config.profile, length.steps)
    return length


def plan_of(config: ml_collections.ConfigDict, length: Length) -> Plan:
    """What is evaluated and when, and when training ends.

    Args:
      config: for which `check` and `length_of` found nothing.
      length: from `length_of`.
    """
    return Plan(
        steps=length.steps,
        period=length.period(config.evaluate.every),
        facts=_facts(config),
        shown=_shown(config).name,
        best_by=_best_by(config),
        patience=config.evaluate.patience,
        without_average=config.evaluate.without_average,
        pictures=config.evaluate.pictures if config.evaluate.every else 0,
        wait_minutes=config.mesh.wait_minutes,
    )


def prepare(experiment: Experiment, scored: pipeline.Source, plan: Plan) -> Programs:
    """Compiles what a training is evaluated by, and in the first process what draws pictures.

    Args:
      experiment: for whose config `check` found nothing.
      scored: from `evaluation.open_scored`.
      plan: from `plan_of`.
    """
    score = evaluation.prepare(experiment, scored)
    if not plan.pictures or jax.process_index():
        return Programs(score)
    protocol = _shown(experiment.config)
    draw = validation_pictures.prepare(experiment, scored, protocol, plan.pictures)
    return Programs(score, draw)


def check_length(workdir: pathlib.Path, config: ml_collections.ConfigDict, length: Length) -> None:
    """Makes sure that a run is as long as it was when it began.

    A run in steps is, and is told where it has another number of images.

    Raises:
      ValueError: its epochs have come to another number of steps meanwhile; or its record is
        damaged.
    """
    record = training_record.read(workdir)
    if record is None or record.length == length:
        return
    then = record.length
    if config.epochs:
        raise ValueError(
            f"{workdir} began with epochs={config.epochs:g} of {then.images} images,"
            f" {then.steps} steps, but data.train_split has {length.images} images now, which would"
            f" make {length.steps}; bring those images back, or name another --workdir"
        )
    if then.images != length.images:
        tell(
            f"{workdir} began with {then.images} images of data.train_split, which has"
            f" {length.images} now: from here on crops come in another order.",
            style="yellow",
        )


def record_at(workdir: pathlib.Path, plan: Plan, length: Length, step: int) -> TrainingRecord:
    """The record to go on with from a step: later scores are dropped, and the best is chosen anew.

    Several processes all call this, once, and get the same.

    Args:
      workdir: of the run, from which later checkpoints are gone.
      plan: from `plan_of`.
      length: from `length_of`, for a run that has no record.
      step: that the run goes on from.
    """

    def read() -> str:
        record = training_record.read(workdir)
        if record is None:
            record = TrainingRecord(length, versions=versions.of_all())
        steps = checkpoint_reading.steps_in(checkpoint_reading.directory_of(workdir, "--workdir"))
        return training_record.to_text(plan.with_best(record.up_to(step), *steps))

    return training_record.from_text(hosts.from_first("training record", read))


def draw(workdir: pathlib.Path, record: TrainingRecord, plan: Plan) -> None:
    """Draws the curves of a record into a run, from two scores on; the first process does."""
    scores = [score for score in record.scores if score.facts == plan.facts]
    if len(scores) < 2 or jax.process_index():
        return
    curves: dict[str, list[tuple[int, float]]] = {}
    for score in scores:
        for name, value in score.mean_iou.items():
            if value is not None:
                curves.setdefault(name, []).append((score.step, value))
    best = None if record.best is None else (record.best.step, record.best.mean_iou)
    path = workdir / evaluation.RESULTS / _CURVES
    figure = charts.lines("Mean IoU by step, %", curves, best=best, from_zero=True)
    store(path, figure.encode())
    tell(f"The mean IoU by step: {path}")


def _facts(config: ml_collections.ConfigDict) -> Mapping[str, Any]:
    settings = config.evaluate
    return {
        "split": f"{config.data.name}/{config.data.eval_split}",
        "flip": settings.flip,
        "fusion_resolution": settings.fusion_resolution,
        "average_of_steps": config.optimizer.ema_decay > 0,
    }


def _best_by(config: ml_collections.ConfigDict) -> str:
    text = config.checkpoint.keep_best
    return protocol_lib.parse(text).name if text else ""


def _shown(config: ml_collections.ConfigDict) -> Protocol:
    """The protocol of the best checkpoint, or else the one of predictions, or else the first."""
    by_name = {protocol.name: protocol for protocol in protocols.of_evaluation(config)}
    default = protocols.of_prediction(None, config).name
    first = next(iter(by_name))
    return by_name[_best_by(config) or (default if default in by_name else first)]
