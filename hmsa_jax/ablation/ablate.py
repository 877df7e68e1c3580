"""Trains and scores the networks of the paper's tables, and writes the tables."""

import copy
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from data import registry
from hmsa_jax.ablation import claims, controls, costs, page, results, runs
from hmsa_jax.ablation.networks import NETWORKS, Network, config_of, directory_of, labels_of
from hmsa_jax.auto_labels import thresholds
from hmsa_jax.auto_labels.thresholds import Threshold
from hmsa_jax.config import schema
from hmsa_jax.config.fields import BEFORE
from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import (
    autolabel,
    evaluation,
    page_file,
    run_directory,
    train,
)
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell

SETTINGS = "ablation.json"
PAGE = "report.html"


def is_there(workdir: pathlib.Path) -> bool:
    """Whether a directory is a workdir of tables."""
    return (workdir / SETTINGS).exists()


def read_config(workdir: pathlib.Path) -> ConfigDict | None:
    """The config that the networks of a workdir have in common; None if it holds none.

    Raises:
      ValueError: it is damaged.
    """
    settings = _read(workdir)
    return None if settings is None else schema.unflatten(settings["config"])


def ablate(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    rows: Sequence[str],
    seeds: Sequence[int],
    teacher: str,
    threshold: Threshold,
    measures: bool,
) -> bool:
    """Trains and scores networks with each seed, and writes the tables of all that are done.

    A network that is trained already is left as it is, and one that was stopped goes on. Several
    calls may share the work in one workdir, with other seeds or rows each.

    Args:
      config: that all networks have in common. Its pool, if it has one, is that of Table 2.
      workdir: of the tables; each run has a directory of its own inside, `seed-SEED/NETWORK`.
      rows: keys of `NETWORKS`; empty for all that the config can train.
      seeds: of the runs.
      teacher: the network that labels the pool.
      threshold: as for `autolabel`.
      measures: whether to measure what a step of each method costs, unless it is on record.

    Returns:
      Whether all is done.

    Raises:
      ValueError: an argument or a config cannot be used, or the workdir belongs to other ones.
    """
    networks = _chosen(config, rows)
    trained = _with_teacher(networks, teacher)
    settings = _settings(config, teacher, threshold)
    _has_equal(workdir, settings)
    for seed in seeds:
        for network in trained:
            _check(config_of(config, network, workdir, seed), network, workdir, seed)
    _claim(workdir, settings)
    for seed in seeds:
        for network in trained:
            if not _train(config, workdir, network, seed, teacher, threshold):
                return False
            _write(config, workdir)
    if measures:
        costs.measure(config, workdir)
    _write(config, workdir, prints=True)
    return True


def results_in(workdir: pathlib.Path) -> results.Results:
    """What is known of the tables of a workdir.

    Raises:
      ValueError: a file is damaged, or not all networks were scored on the same images.
    """
    config = read_config(workdir)
    assert config is not None
    return _results(config, workdir)


def report(workdir: pathlib.Path, out: pathlib.Path) -> None:
    """Writes the page of a workdir's tables.

    Raises:
      ValueError: a file is damaged, or not all networks were scored on the same images.
    """
    page_file.check(out, "--out")
    text = page.render(results_in(workdir), page_file.made_by("report"))
    page_file.write(out, text, workdir.name)


def _chosen(config: ConfigDict, rows: Sequence[str]) -> list[Network]:
    """The networks of the rows, in the order in which they are trained."""
    if unknown := [row for row in rows if row not in NETWORKS]:
        raise ValueError(f"--rows has {unknown[0]!r}; expected some of {', '.join(NETWORKS)}")
    pooled = [name for name, network in NETWORKS.items() if network.pool]
    if not config.data.pool.name:
        if needing := [row for row in rows if row in pooled]:
            raise ValueError(
                f"--rows has {needing[0]}, which needs coarse images; set data.pool.name to them"
            )
        if not rows:
            tell(f"data.pool.name is '': Table 2 is left out ({', '.join(pooled)}).")
            rows = [name for name in NETWORKS if name not in pooled]
    return [network for name, network in NETWORKS.items() if not rows or name in rows]


def _with_teacher(networks: Sequence[Network], teacher: str) -> list[Network]:
    """The networks, and the teacher if one of them needs it."""
    needed = {network.name for network in networks}
    if any(network.pool == "auto" for network in networks):
        needed.add(teacher)
    return [network for name, network in NETWORKS.items() if name in needed]


def _check(config: ConfigDict, network: Network, workdir: pathlib.Path, seed: int) -> None:
    """Makes sure that a network can be trained, before anything is written."""
    data = config.data
    registry.check_there(data.name, data.dir, data.cache_dir, data.built)
    # The labels of the teacher are not made yet.
    train.check(config, directory_of(workdir, network.name, seed), has_pool=network.pool != "auto")


def _train(
    config: ConfigDict,
    workdir: pathlib.Path,
    network: Network,
    seed: int,
    teacher: str,
    threshold: Threshold,
) -> bool:
    """Trains and scores a network unless that is done; returns whether it is."""
    run = directory_of(workdir, network.name, seed)
    own = config_of(config, network, workdir, seed)
    needs_labels = network.pool == "auto" and not runs.is_trained(run)
    if needs_labels and not _label(config, workdir, seed, teacher, threshold):
        return False
    tell(f"{network.name}, seed {seed}: {run}")
    jax.clear_caches()  # the programs of the network before
    if not train.train(own, run):
        return False
    if runs.counts_of(run, network.method, config) is None:  # it was scored in another way
        evaluation.evaluate(own, run)
    if network == controls.NETWORK:
        controls.measure(config, workdir, seed)
    return True


def _label(
    config: ConfigDict, workdir: pathlib.Path, seed: int, teacher: str, threshold: Threshold
) -> bool:
    """Has the teacher label the images of the pool; returns whether all are labelled."""
    run = directory_of(workdir, teacher, seed)
    own = config_of(config, NETWORKS[teacher], workdir, seed)
    pool = config.data.pool
    images = f"{pool.name}/{pool.split}"
    data = copy.deepcopy(config.data)
    data.update(name=pool.name, dir=pool.dir, built=pool.built)
    out = labels_of(workdir, seed)
    tell(f"{teacher}, seed {seed}, labels {images}: {out}")
    return autolabel.autolabel(own, run, images, out, threshold=threshold, data=data)


def _claim(workdir: pathlib.Path, ours: Mapping[str, Any]) -> None:
    """Writes what the networks have in common into a workdir that has none.

    Raises:
      ValueError: it has another one, and all that differs is listed; or it cannot be one.
    """
    with hosts.first_before_others("workdir"):
        if not _has_equal(workdir, ours) and jax.process_index() == 0:
            storage.check_place(workdir, "--workdir")
            if run_directory.exists(workdir):
                raise ValueError(f"--workdir is {workdir}, a run; name a directory for the tables")
            storage.make_directory(workdir)
            write_atomically(workdir / SETTINGS, json.dumps(ours, indent=1) + "\n")


def _settings(config: ConfigDict, teacher: str, threshold: Threshold) -> dict[str, Any]:
    return json.loads(
        json.dumps({"teacher": teacher, "threshold": threshold, "config": schema.flatten(config)})
    )


def _has_equal(workdir: pathlib.Path, ours: Mapping[str, Any]) -> bool:
    """Whether a workdir has settings; raises ValueError, and lists what differs, if it has others.

    Args:
      workdir: of the tables.
      ours: as from `_settings`.
    """
    theirs = _read(workdir)
    if theirs is None:
        return False
    fields = {name for name in ours["config"] if not schema.FIELDS[name].free and name != "seed"}
    differing = [
        f"{name}: {theirs['config'].get(name)!r} there, {ours['config'][name]!r} here"
        for name in sorted(fields)
        if theirs["config"].get(name) != ours["config"][name]
    ]
    differing += [
        f"--{name}: {theirs.get(name)!r} there, {ours[name]!r} here"
        for name in ("teacher", "threshold")
        if theirs.get(name) != ours[name]
    ]
    if differing:
        raise ValueError(
            f"{workdir} belongs to other tables; name another --workdir, or undo:\n  "
            + "\n  ".join(differing)
        )
    return True


def _read(workdir: pathlib.Path) -> dict[str, Any] | None:
    path = workdir / SETTINGS
    if not path.exists():
        return None
    try:
        settings = json.loads(path.read_text())
        settings["config"] = json.loads(json.dumps(BEFORE | settings["config"]))
        return {name: settings[name] for name in ("teacher", "threshold", "config")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); restore it from a copy") from error


def _write(config: ConfigDict, workdir: pathlib.Path, *, prints: bool = False) -> None:
    """Writes the tables of all networks that are trained; the first process does."""
    if jax.process_index():
        return
    found = _results(config, workdir)
    write_atomically(workdir / "tables.json", results.to_json(found))
    write_atomically(workdir / "tables.md", results.to_markdown(found))
    if prints:
        for table in results.to_tables(found):
            console.print(table)
        tell(f"The same as Markdown and JSON: {workdir / 'tables.md'}, tables.json")
        out = workdir / PAGE
        page_file.write(out, page.render(found, page_file.made_by("ablate")), workdir.name)


def _results(config: ConfigDict, workdir: pathlib.Path) -> results.Results:
    scores = runs.scores_in(workdir, config)
    return results.Results(
        _facts(config, workdir),
        scores,
        claims.judge_all(scores),
        costs.on_record(config, workdir),
        controls.on_record(config, workdir),
    )


def _facts(config: ConfigDict, workdir: pathlib.Path) -> dict[str, str]:
    data, settings = config.data, _read(workdir)
    assert settings is not None
    length = f"{config.epochs:g} epochs" if config.epochs else f"{config.steps} steps"
    rows, columns = data.crop_size
    facts = {
        "scored": f"{data.name}/{data.eval_split}",
        "trunk": config.model.trunk,
        "training": f"{length} of {data.batch_size} crops of {rows} x {columns} pixels of"
        f" {data.name}/{data.train_split}",
        "optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}",
    }
    if data.pool.name:
        share = f"{100 * data.pool.share:g} % of the crops"
        facts["pool of Table 2"] = f"{data.pool.name}/{data.pool.split}, {share}"
        kept = thresholds.describe(settings["threshold"])
        facts["teacher"] = f"{settings['teacher']} of the same seed; {kept}"
    return facts
