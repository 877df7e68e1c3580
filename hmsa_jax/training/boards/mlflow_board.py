"""MLflow, with the extra `mlflow`: a server, or a file in the run's directory."""

import hashlib
import logging
import os
import pathlib
import posixpath
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hmsa_jax.runtime import storage
from hmsa_jax.training.boards.board import Kind, Start, check_installed
from hmsa_jax.training.boards.delivery import Delivery

_NAME = "mlflow"
_EXPERIMENT = "hmsa_jax"  # unless MLFLOW_EXPERIMENT_NAME names one
_LONGEST_NAME, _LONGEST_VALUE = 250, 6000  # characters that MLflow takes
_MOST_PARAMETERS = 100  # of a request
_REFUSED = re.compile(r"[^\w.\- /]")
_SERVER = "MLFLOW_TRACKING_URI"


def metric_name(name: str) -> str:
    """A name that MLflow takes; no two names become one.

    A character that MLflow refuses becomes its number in hexadecimal between colons. So do the dots
    and slashes of a name that a file system would read as another one. Of a very long name the end
    becomes a digest.

    >>> metric_name("mean_iou/single (1)"), metric_name("iou/<script>"), metric_name("a:b")
    ('mean_iou/single :28:1:29:', 'iou/:3c:script:3e:', 'a:3a:b')
    """
    escaped = _REFUSED.sub(_escape, name)
    if posixpath.normpath(escaped) != escaped or escaped.startswith(("/", "..")) or escaped == ".":
        escaped = re.sub(r"[./]", _escape, escaped) or ":"
    if len(escaped) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        escaped = f"{escaped[: _LONGEST_NAME - 40]}::{digest}"
    return escaped


class _Connection:
    """A run of MLflow."""

    def __init__(self, start: Start, id: str):
        from mlflow import MlflowClient, entities

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._entities = entities
        own = None if _SERVER in os.environ else start.workdir.absolute() / "mlflow"
        if own is not None:
            own.mkdir(parents=True, exist_ok=True)
        self._client: Any = MlflowClient(own and f"sqlite:///{own}/mlflow.db")
        if id:
            self._client.update_run(id, status="RUNNING")
        self.id = id or self._new_run(start, own)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._entities.Metric(metric_name(name), float(value), now, step)
            for name, value in figures.items()
        ]
        self._client.log_batch(self.id, metrics=metrics)

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        for name, picture in pictures.items():
            file = f"{metric_name(name).replace(':', '%')}/{step:08d}.jpg"
            self._client.log_image(self.id, picture, artifact_file=file)

    def close(self) -> None:
        self._client.set_terminated(self.id)

    def _new_run(self, start: Start, own: pathlib.Path | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        place = None if own is None else (own / "artifacts").as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(name, place)
        run = self._client.create_run(experiment, run_name=start.workdir.name)
        parameters = [
            self._entities.Param(field, value[:_LONGEST_VALUE])
            for field, value in start.fields.items()
        ]
        for some in _parts(parameters):
            self._client.log_batch(run.info.run_id, params=some)
        return run.info.run_id


def _escape(match: re.Match) -> str:
    return f":{ord(match[0]):x}:"


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), _MOST_PARAMETERS):
        yield items[first : first + _MOST_PARAMETERS]


def _check(workdir: pathlib.Path) -> None:
    check_installed(_NAME)
    if storage.is_remote(workdir) and not os.environ.get(_SERVER):
        raise ValueError(
            f"writers has {_NAME}, which keeps no file in a bucket, as {workdir} is; set {_SERVER}"
            " to a server, or to sqlite:////DIR/mlflow.db"
        )


def _open(start: Start) -> Delivery:
    return Delivery(_NAME, start, lambda id: _Connection(start, id))


KIND = Kind(_open, _check)
