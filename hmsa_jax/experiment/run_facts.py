"""What is known of a run beside its scores: how it was trained, for how long, with what."""

import datetime
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from data.label_spec import LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.report.reported_run import Scores
from hmsa_jax.runtime import storage
from hmsa_jax.training import training_record


def command(path: pathlib.Path, config: ConfigDict, first_config: ConfigDict) -> str:
    """What is typed to train a run of this config.

    Args:
      path: of the run.
      config: of the run.
      first_config: what a new run starts from where no field is changed.
    """
    ours, firsts = schema.flatten(config), schema.flatten(first_config)
    changed = [
        f"--config.{name}={schema.typed(value)}"
        for name, value in ours.items()
        if value != firsts.get(name)
    ]
    return shlex.join(["python", "main.py", "train", f"--workdir={path}", *changed])


def facts(
    path: pathlib.Path,
    config: ConfigDict,
    label_spec: LabelSpec,
    rows: Sequence[Mapping[str, Any]],
    scores: Scores | None,
) -> dict[str, str]:
    """What a reader asks first, by name, in words.

    Args:
      path: of the run.
      config: of the run.
      label_spec: its classes.
      rows: of its log.
      scores: its evaluation, if it has one.

    Raises:
      ValueError: the record of its training is damaged.
    """
    model, data, record = config.model, config.data, training_record.read(path)
    last: Mapping[str, Any] = next((row for row in reversed(rows) if "time/goodput" in row), {})
    known = {
        "directory": str(storage.absolute(path)),
        "network": f"trunk {model.trunk}, {model.attention} attention, trained on the scales"
        f" {', '.join(f'{scale:g}' for scale in config.objective.scales)}",
        "data set": f"{data.name}, trained on {data.train_split}",
        "classes": f"{len(label_spec.names)}: {', '.join(label_spec.names)}",
    }
    if record is not None:
        length = record.length
        known["length"] = f"{length.describe(0)} Batches have {length.batch_size} crops."
        known["state"] = record.end or "Training has not ended."
        if record.best is not None:
            best = record.best
            known["best checkpoint"] = f"step {best.step}, {best.mean_iou:.1f} % by {best.protocol}"
    if record is not None and last:
        began = datetime.datetime.fromtimestamp(record.began, datetime.UTC)
        known["started"] = f"{began:%Y-%m-%d %H:%M} UTC"
        known["time in steps"] = (
            f"{_duration(last['time/in_steps'])}, {last['time/goodput']:.0%} of the time from the"
            f" start to step {last['step']}"
        )
    if record is not None and record.versions:
        versions_of = (f"{name} {version}" for name, version in record.versions.items())
        known["trained with"] = ", ".join(versions_of)
    if scores is not None:
        words = [f"step {scores.origin.step} on {scores.origin.split}"]
        words += [
            f"{name.replace('_', ' ')} {_in_words(scores.facts[name])}"
            for name in ("flip", "fusion_resolution", "weights")
            if name in scores.facts
        ]
        known["scored"] = "; ".join(words)
    return known


def _in_words(fact: Any) -> str:
    return ("no", "yes")[fact] if isinstance(fact, bool) else str(fact)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{seconds / 60:.1f} min"
