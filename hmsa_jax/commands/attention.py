"""`attention`: what the attention of a trained network is worth."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import DISTRIBUTED, STEP, WORKDIR, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import attention


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Scores controls beside the attention, and what each scale gains by class and size."""
    attention.measure(
        config,
        execution.path_of(options, "workdir"),
        protocol=options.protocol,
        step=execution.step_of(options),
    )


COMMAND = Command(
    summary="scores what the attention of a trained network gains beyond controls, and where",
    example="python main.py attention --workdir=runs/street_scenes",
    run=run,
    flags=(
        WORKDIR,
        Flag("protocol", "whose attention, as in evaluate.protocols", value="METHOD:SCALES"),
        STEP,
        DISTRIBUTED,
    ),
)
