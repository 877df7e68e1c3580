"""The evaluations of a run that trains, as its config and its directory have them."""

import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import protocols
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.training import checkpoint_reading, training_record
from hmsa_jax.training.length import Length
from hmsa_jax.training.monitor import Plan
from hmsa_jax.training.training_record import TrainingRecord


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError unless the best checkpoint is chosen by a protocol that is evaluated."""
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
      ValueError: its epochs are less than a step, or its evaluations less than a step apart.
    """
    batch_size = config.data.batch_size
    if config.epochs:
        length = Length.of_epochs(config.epochs, images, batch_size)
    else:
        length = Length(config.steps, images, batch_size)
    length.period(config.evaluate.every)
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
        shown=_shown(config),
        best_by=_best_by(config),
        patience=config.evaluate.patience,
        without_average=config.evaluate.without_average,
    )


def read_record(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, length: Length
) -> TrainingRecord:
    """The record of a run, or a new one; the same in all processes.

    Raises:
      ValueError: it is damaged; or epochs have come to another number of steps meanwhile.
    """
    fresh = TrainingRecord(length)
    text = hosts.from_first(
        "training record",
        lambda: training_record.to_text(training_record.read(workdir) or fresh),
    )
    record = training_record.from_text(text)
    if config.epochs and record.length != length:
        then = record.length
        raise ValueError(
            f"{workdir} began with epochs={config.epochs:g} of {then.images} images,"
            f" {then.steps} steps, but data.train_split has {length.images} images now, which would"
            f" make {length.steps}; bring those images back, or name another --workdir"
        )
    return record


def as_of(record: TrainingRecord, plan: Plan, workdir: pathlib.Path, step: int) -> TrainingRecord:
    """The record to go on with from a step: later scores are dropped, and the best is chosen anew.

    Args:
      record: from `read_record`.
      plan: from `plan_of`.
      workdir: of the run, from which later checkpoints are gone.
      step: that the run goes on from.
    """
    steps = checkpoint_reading.steps_in(checkpoint_reading.directory_of(workdir, "--workdir"))
    return plan.with_best(record.up_to(step), *steps)


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


def _shown(config: ml_collections.ConfigDict) -> str:
    """The protocol of the best checkpoint, or else the one of predictions, or else the first."""
    names = [protocol.name for protocol in protocols.of_evaluation(config)]
    default = protocols.of_prediction(None, config).name
    return _best_by(config) or (default if default in names else names[0])
