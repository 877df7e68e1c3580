"""`autolabel`: a trained network labels images, for another one to train on."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import (
    DISTRIBUTED,
    STEP,
    STOPPED_STATUS,
    THRESHOLD,
    WORKDIR,
    Command,
    Flag,
)

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import autolabel


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Labels all images that are not labelled yet."""
    is_done = autolabel.autolabel(
        config,
        execution.path_of(options, "workdir"),
        options.images,
        execution.path_of(options, "out"),
        threshold=options.threshold,
        protocol=options.protocol,
        flip=options.flip,
        previews=options.previews,
        step=execution.step_of(options),
    )
    return 0 if is_done else options.stopped_status


COMMAND = Command(
    summary="labels images with a trained network, for another one to train on (paper section 4)",
    example="python main.py autolabel --workdir=TEACHER --images=PHOTOS --out=LABELLED",
    run=run,
    flags=(
        WORKDIR,
        Flag("images", "a directory of images, or DATASET/SPLIT", value="WHERE", needed=True),
        Flag("out", "directory of the labels", value="DIR", needed=True),
        THRESHOLD,
        Flag("protocol", "how to predict, as in evaluate.protocols", value="METHOD:SCALES"),
        Flag("flip", "leaves the mirror image out; else predictions are averaged", True, bool),
        Flag("previews", "writes each image beside its labels in colour, too", False, bool),
        STEP,
        STOPPED_STATUS,
        DISTRIBUTED,
    ),
)
