"""What controls of the attention come to, over the seeds (see `attention`)."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from hmsa_jax.ablation.networks import NETWORKS, config_of, directory_of
from hmsa_jax.experiment import attention
from hmsa_jax.training import training_record

NETWORK = NETWORKS["hierarchical"]
"""The network whose attention is replaced."""


@dataclasses.dataclass(frozen=True)
class Control:
    """A way to predict by the network, percent and points.

    Attributes:
      mean_iou: seed -> mean IoU.
      beyond: seed -> how far that is from the mean IoU by the attention itself.
    """

    mean_iou: Mapping[int, float]
    beyond: Mapping[int, float]

    @property
    def mean(self) -> float:
        """The mean IoU over seeds."""
        return float(np.mean(list(self.mean_iou.values())))

    @property
    def mean_beyond(self) -> float:
        """The mean difference over seeds."""
        return float(np.mean(list(self.beyond.values())))


def measure(config: ConfigDict, workdir: pathlib.Path, seed: int) -> None:
    """Scores the controls of a trained network, unless that is on record.

    Args:
      config: that all networks have in common.
      workdir: of the tables.
      seed: of the network.
    """
    run = directory_of(workdir, NETWORK.name, seed)
    if _path(run, config) is None:
        attention.measure(config_of(config, NETWORK, workdir, seed), run)


def on_record(config: ConfigDict, workdir: pathlib.Path, seeds: list[int]) -> dict[str, Control]:
    """The controls by name, with the seeds for which they are scored.

    Raises:
      ValueError: a file is damaged.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for seed in seeds:
        path = _path(directory_of(workdir, NETWORK.name, seed), config)
        if path is not None:
            for name, scores in _read(path).items():
                found.setdefault(name, {})[seed] = scores
    return {
        name: Control(
            {seed: score for seed, (score, _) in of_seed.items()},
            {seed: beyond for seed, (_, beyond) in of_seed.items()},
        )
        for name, of_seed in found.items()
    }


def _path(run: pathlib.Path, config: ConfigDict) -> pathlib.Path | None:
    """The file of a run's controls at its last step."""
    record = training_record.read(run)
    if record is None or not record.scores:
        return None
    step = max(score.step for score in record.scores)
    path = run / attention.RESULTS / f"{config.data.eval_split}-{step}.json"
    return path if path.exists() else None


def _read(path: pathlib.Path) -> dict[str, tuple[float, float]]:
    try:
        protocols = json.loads(path.read_text())["protocols"]
        return {
            name: (float(scores["mean_iou"]), float(scores["beyond"]["mean_iou"]))
            for name, scores in protocols.items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); remove it, then ablate again") from error
