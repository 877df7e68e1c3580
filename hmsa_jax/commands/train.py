"""`train`: trains a network."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import DISTRIBUTED, STEP, STOPPED_STATUS, WORKDIR, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import config_file, execution
    from hmsa_jax.experiment import report, train


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Trains to the last step, or until a signal; then scores the network and makes its page."""
    workdir = execution.path_of(options, "workdir")
    is_done = train.train(config, workdir, execution.step_of(options))
    if is_done and options.page:
        report.after_training(workdir, lambda: config_file.load(config_file.DEFAULT))
    return 0 if is_done else options.stopped_status


COMMAND = Command(
    summary="trains a network and scores it, or goes on with a run that was stopped",
    example="python main.py train --config=configs/street_scenes.py --workdir=runs/street_scenes",
    run=run,
    flags=(
        WORKDIR,
        STEP,
        Flag("page", "leaves out the page at the end; `report` makes it", True, bool),
        STOPPED_STATUS,
        DISTRIBUTED,
    ),
)
