"""Copies what the tables of `ablate` come from into a directory of their own, and makes them there.

    python docs/results/ablation_counts.py TABLES KEPT

Of each trained network KEPT has the counts by image, the controls and the record of its training,
without its weights; beside them the settings, what steps cost, and the tables as JSON. They are
printed as Markdown. Networks that KEPT has already, of other commands or machines, stay; those in
TABLES replace their namesakes. `python main.py report --workdir=KEPT --out=PAGE.html` shows a page.
"""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from hmsa_jax.ablation import ablate, results, runs
from hmsa_jax.ablation.networks import NETWORKS, directory_of
from hmsa_jax.experiment import attention
from hmsa_jax.runtime.files import write_atomically

COSTS = "costs.json"


def main(tables: pathlib.Path, kept: pathlib.Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    settings = json.loads((tables / ablate.SETTINGS).read_text())
    if (kept / ablate.SETTINGS).exists():
        earlier = json.loads((kept / ablate.SETTINGS).read_text())
        if (earlier["teacher"], earlier["threshold"]) != (
            settings["teacher"],
            settings["threshold"],
        ):
            sys.exit(f"{kept} is of another teacher or threshold")
    for name in (ablate.SETTINGS, COSTS):
        if (tables / name).exists():
            shutil.copy(tables / name, kept / name)
    for seed in runs.seeds_in(tables):
        for name in NETWORKS:
            run = directory_of(tables, name, seed)
            if runs.is_trained(run):
                copy(run, directory_of(kept, name, seed))
                print(f"{name}, seed {seed}")
    found = ablate.results_in(kept)
    write_atomically(kept / "tables.json", results.to_json(found))
    print(results.to_markdown(found))


def copy(run: pathlib.Path, kept: pathlib.Path) -> None:
    """The parts of a run that tables are made of."""
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    shutil.copy(run / "training.json", kept)
    for pattern in ("evaluation/*.npz", f"{attention.RESULTS}/*.json"):
        for path in run.glob(pattern):
            target = kept / path.relative_to(run)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
