"""`check-data`: reads a whole data set and tells what is wrong with it."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.experiment import check_data, proposal


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Decodes every image and label, or proposes classes; 1 if anything is wrong."""
    do = proposal.propose if options.propose else check_data.check_data
    return 0 if do(config) else 1


COMMAND = Command(
    summary="reads every image and label of a data set; tells what it holds and what is wrong",
    example="python main.py check-data --config.data.name=folder --config.data.dir=PHOTOS",
    run=run,
    flags=(
        Flag("propose", "writes classes.json for masks that have none, to be edited", False, bool),
    ),
)
