"""The runs of a workdir, and the scores that are on record in them."""

import pathlib
from typing import Any

from ml_collections import ConfigDict

from hmsa_jax.ablation.networks import METHODS, NETWORKS, directory_of
from hmsa_jax.ablation.scores import Scores
from hmsa_jax.experiment import compare
from hmsa_jax.experiment.evaluation import RESULTS
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import count_file
from hmsa_jax.runtime import storage
from hmsa_jax.training import training_record

_PREFIX = "seed-"


def seeds_in(workdir: pathlib.Path) -> list[int]:
    """The seeds with which something was trained."""
    names = [name for name in storage.names(workdir) if name.startswith(_PREFIX)]
    numbers = [name.removeprefix(_PREFIX) for name in names]
    return sorted(int(number) for number in numbers if number.isdecimal())


def is_trained(run: pathlib.Path) -> bool:
    """Whether a run has reached its end and is scored."""
    record = training_record.read(run)
    return record is not None and bool(record.end) and any(s.is_reported for s in record.scores)


def facts_of(run: pathlib.Path, config: ConfigDict) -> dict[str, Any]:
    """What scores of a trained run say of themselves that the tables can take.

    Args:
      run: that `is_trained`.
      config: that all networks have in common, which says on which split, and how.
    """
    record = training_record.read(run)
    assert record is not None
    return {
        "split": f"{config.data.name}/{config.data.eval_split}",
        "step": max(score.step for score in record.scores),
        "flip": config.evaluate.flip,
        "fusion_resolution": config.evaluate.fusion_resolution,
    }


def counts_of(run: pathlib.Path, method: str, config: ConfigDict) -> pathlib.Path | None:
    """The newest counts of a trained run that the tables can take; None: there are none.

    Args:
      run: that `is_trained`.
      method: key of `METHODS`, by whose protocols it has to be scored.
      config: as for `facts_of`.

    Raises:
      ValueError: a file is damaged.
    """
    wanted = facts_of(run, config)
    names = {protocol_lib.parse(text).name for text in METHODS[method]["evaluate.protocols"]}
    directory = run / RESULTS
    paths = [directory / name for name in storage.names(directory) if name.endswith(".npz")]
    for path in sorted(paths, key=storage.modified_ns, reverse=True):
        kind = count_file.read_kind(path)
        if wanted.items() <= kind.items() and names <= {*kind.get("protocols", ())}:
            return path
    return None


def scores_in(workdir: pathlib.Path, config: ConfigDict) -> Scores:
    """The scores of all trained networks.

    Args:
      workdir: of the tables.
      config: that all networks have in common; its `evaluate` and `data.eval_split` say which
        evaluations count.

    Raises:
      ValueError: a file is damaged, or not all were scored on the same images.
    """
    runs: dict[str, dict[int, ImageConfusions]] = {}
    first: tuple[pathlib.Path, ImageConfusions] | None = None
    for seed in seeds_in(workdir):
        for name, network in NETWORKS.items():
            run = directory_of(workdir, name, seed)
            path = counts_of(run, network.method, config) if is_trained(run) else None
            if path is None:
                continue
            counts = count_file.read(path)
            first = first or (path, counts)
            runs.setdefault(name, {})[seed] = compare.aligned(*first, path, counts)
    return Scores(runs)
