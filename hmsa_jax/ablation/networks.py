"""The networks of the paper's Tables 1 and 2, as changes of one config."""

import copy
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hmsa_jax.config import schema

THREE, FOUR = "0.5,1,2", "0.25,0.5,1,2"
"""The scales of the paper's evaluations."""

NO_POOL = {"data.pool.name": "", "data.pool.boost_classes": ()}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the tables.

    Attributes:
      name: of its row of runs, and of its directory.
      method: how it blends scales, a key of `METHODS`.
      pool: where some of its crops come from besides the train split: '' for nowhere, 'coarse' for
        the pool of the config with the labels that it has, 'auto' for those images, labelled by the
        teacher.
    """

    name: str
    method: str
    pool: str = ""


METHODS: Mapping[str, Mapping[str, Any]] = {
    "single": {
        "model.attention": "none",
        "objective.scales": (1.0,),
        "evaluate.protocols": ("single", f"average:{THREE}", f"average:{FOUR}"),
    },
    "explicit": {
        "model.attention": "explicit",
        "objective.scales": (0.5, 1.0, 2.0),
        "evaluate.protocols": (f"explicit:{THREE}",),
    },
    "hierarchical": {
        "model.attention": "hierarchical",
        "objective.scales": (0.5, 1.0),
        "evaluate.protocols": (
            "single",
            f"average:{THREE}",
            f"average:{FOUR}",
            f"hierarchical:{THREE}",
            f"hierarchical:{FOUR}",
        ),
    },
}
"""Fields of each method. Of the hierarchical network its averages are scored, too: what attention
adds to the same weights."""

NETWORKS = {
    network.name: network
    for network in (
        Network("single", "single"),
        Network("explicit", "explicit"),
        Network("hierarchical", "hierarchical"),
        Network("single_coarse", "single", "coarse"),
        Network("hierarchical_coarse", "hierarchical", "coarse"),
        Network("single_auto", "single", "auto"),
        Network("hierarchical_auto", "hierarchical", "auto"),
    )
}
TEACHERS = tuple(
    n.name for n in NETWORKS.values() if n.method == "hierarchical" != n.pool != "auto"
)


def directory_of(workdir: pathlib.Path, network: str, seed: int) -> pathlib.Path:
    """Where a network is trained with a seed."""
    return workdir / f"seed-{seed}" / network


def labels_of(workdir: pathlib.Path, seed: int) -> pathlib.Path:
    """Where the teacher's labels lie."""
    return workdir / f"seed-{seed}" / "labels"


def config_of(config: ConfigDict, network: Network, workdir: pathlib.Path, seed: int) -> ConfigDict:
    """The config by which a network is trained.

    Args:
      config: that all networks have in common; with a pool if `network.pool` is not ''.
      network: which.
      workdir: of the tables.
      seed: of its weights, of the order of its images and of its crops.
    """
    changes: dict[str, Any] = {"seed": seed, **METHODS[network.method]}
    if network.pool == "":
        changes |= NO_POOL
    elif network.pool == "auto":
        changes |= {
            "data.pool.name": "folder",
            "data.pool.dir": str(labels_of(workdir, seed)),
            "data.pool.built": "",
            "data.pool.split": "train",
            "data.pool.boost_classes": (),
            "data.pool.boost_until_epoch": 0,
        }
    return schema.override(copy.deepcopy(config), changes)
