"""`build-data`: builds the data sets of an experiment, to be read where their files are not."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import build_data


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Builds what is not there, and says how to read it."""
    out = None if options.out is None else execution.path_of(options, "out")
    build_data.build_data(config, out)


COMMAND = Command(
    summary="builds the data sets of an experiment, to be read where their files are not",
    example="python main.py build-data --config=configs/cityscapes.py --config.data.dir=CITYSCAPES"
    " --out=gs://BUCKET/data",
    run=run,
    flags=(Flag("out", "where to, in place of data.cache_dir; gs:// will do", value="DIR"),),
)
