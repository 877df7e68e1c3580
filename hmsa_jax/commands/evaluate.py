"""`evaluate`: scores a trained network."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import DISTRIBUTED, STEP, WORKDIR, Command

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import evaluation


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Scores a checkpoint by all protocols, prints the table and writes it as JSON."""
    evaluation.evaluate(config, execution.path_of(options, "workdir"), execution.step_of(options))


COMMAND = Command(
    summary="scores a trained network under several protocols at once",
    example="python main.py evaluate --workdir=runs/street_scenes",
    run=run,
    flags=(WORKDIR, STEP, DISTRIBUTED),
)
