"""`backends`: what the steps of an experiment take on chips that are here or not."""

import argparse
import shlex

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import backends


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Compiles each step for each target, and runs it where the devices are there."""
    backends.backends(
        config,
        execution.local_path_of(options, "out"),
        targets=options.targets,
        steps=options.steps,
        images_per_device=options.images_per_device,
        quick=options.quick,
        breaks_down=options.breakdown,
        command=shlex.join(options.command_line),
    )


COMMAND = Command(
    summary="compiles an experiment's steps for TPUs and GPUs, here or not: memory, time, traffic",
    example="python main.py backends --out=BACKENDS --targets=v5e:2x2,h100:8 --quick",
    run=run,
    flags=(
        Flag("out", "directory of the table", value="DIR", needed=True),
        Flag("targets", "chips and their numbers, like cpu,v5e:2x2,h100:8", "cpu", value="LIST"),
        Flag("steps", "which of train and evaluate", "train,evaluate", value="LIST"),
        Flag("images_per_device", "of the train step", 1, int, "N"),
        Flag("breakdown", "writes where time and traffic go, by layer and kind", False, bool),
        Flag("quick", "optimises little for TPUs: takes minutes, tells no time", False, bool),
    ),
)
