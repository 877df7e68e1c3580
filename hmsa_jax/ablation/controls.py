"""What controls of the attention come to, over the seeds (see `attention`)."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from hmsa_jax.ablation import runs
from hmsa_jax.ablation.networks import NETWORKS, config_of, directory_of
from hmsa_jax.ablation.tables import HIERARCHICAL
from hmsa_jax.experiment import attention
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.runtime import storage

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
    if _scores_of(run, config) is None:
        own = config_of(config, NETWORK, workdir, seed)
        attention.measure(own, run, protocol=HIERARCHICAL)


def on_record(config: ConfigDict, workdir: pathlib.Path) -> dict[str, Control]:
    """The controls by name, with the seeds for which they are scored.

    Raises:
      ValueError: a file is damaged.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for seed in runs.seeds_in(workdir):
        run = directory_of(workdir, NETWORK.name, seed)
        scores = _scores_of(run, config) if runs.is_trained(run) else None
        for name, of_name in (scores or {}).items():
            found.setdefault(name, {})[seed] = of_name
    return {
        name: Control(
            {seed: score for seed, (score, _) in of_seed.items()},
            {seed: beyond for seed, (_, beyond) in of_seed.items()},
        )
        for name, of_seed in found.items()
    }


def _scores_of(run: pathlib.Path, config: ConfigDict) -> dict[str, tuple[float, float]] | None:
    """The controls of a trained run as the tables have them; None if they are not scored so."""
    wanted = runs.facts_of(run, config) | {"protocol": protocol_lib.parse(HIERARCHICAL).name}
    directory = run / attention.RESULTS
    for name in sorted(storage.names(directory)):
        path = directory / name
        try:
            content = json.loads(path.read_text())
            if wanted.items() <= content.items():
                return {
                    name: (float(scores["mean_iou"]), float(scores["beyond"]["mean_iou"]))
                    for name, scores in content["protocols"].items()
                }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is damaged ({error!r}); remove it, then ablate again"
            ) from error
    return None
