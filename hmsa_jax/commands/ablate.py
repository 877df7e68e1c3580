"""`ablate`: the paper's tables, each row trained and scored here."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.ablation.networks import NETWORKS, TEACHERS
from hmsa_jax.commands.command import DISTRIBUTED, STOPPED_STATUS, THRESHOLD, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.ablation import ablate
    from hmsa_jax.commands import config_file, execution
    from hmsa_jax.config import schema


def _read_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if unknown := [name for name in names if name not in NETWORKS]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is none; expected some of {', '.join(NETWORKS)}"
        )
    return names


def _read_seeds(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**32 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}; expected whole numbers like 0,1,2")
    return tuple(dict.fromkeys(map(int, parts)))


def _read_teacher(text: str) -> str:
    if text not in TEACHERS:
        raise argparse.ArgumentTypeError(f"{text!r} is none; expected {' or '.join(TEACHERS)}")
    return text


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Trains and scores what is not done yet, and writes the tables."""
    workdir = execution.path_of(options, "workdir")
    if options.config is None:
        earlier = ablate.read_config(workdir)
        config = config_file.load(config_file.ABLATION) if earlier is None else earlier
        config = schema.override(config, options.overrides)
    is_done = ablate.ablate(
        config,
        workdir,
        rows=options.rows,
        seeds=options.seeds,
        teacher=options.teacher,
        threshold=options.threshold,
        measures=options.costs,
    )
    return 0 if is_done else options.stopped_status


COMMAND = Command(
    summary="trains and scores the networks of the paper's Tables 1 and 2, and writes both tables",
    example="python main.py ablate --config=configs/ablation/street_scenes.py --workdir=TABLES",
    run=run,
    flags=(
        Flag("workdir", "directory of the tables and of all their runs", value="DIR", needed=True),
        Flag(
            "rows",
            f"networks to train, some of {', '.join(NETWORKS)}; else all",
            (),
            _read_names,
            "NAMES",
        ),
        Flag("seeds", "with which each is trained", (0, 1, 2), _read_seeds, "NUMBERS"),
        Flag(
            "teacher",
            "the network that labels the coarse images",
            "hierarchical_coarse",
            _read_teacher,
            "NAME",
        ),
        THRESHOLD,
        Flag("costs", "leaves out to measure what a step of each method costs", True, bool),
        STOPPED_STATUS,
        DISTRIBUTED,
    ),
)
