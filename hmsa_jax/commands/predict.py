"""`predict`: a trained network labels a user's own images."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import DISTRIBUTED, STEP, STOPPED_STATUS, WORKDIR, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import predict
    from hmsa_jax.predictions import predicted_images


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Predicts all images that are not done yet."""
    is_done = predict.predict(
        config,
        execution.path_of(options, "workdir"),
        options.images,
        execution.path_of(options, "out"),
        save=predicted_images.parse_kinds(_kinds(options)),
        protocol=options.protocol,
        flip=options.flip,
        tile=options.tile,
        upright=options.exif,
        server=options.submission,
        step=execution.step_of(options),
    )
    return 0 if is_done else options.stopped_status


def _kinds(options: argparse.Namespace) -> str:
    """A submission is of masks."""
    return f"mask,{options.save}" if options.submission else options.save


COMMAND = Command(
    summary="labels images of your own with a trained network",
    example="python main.py predict --workdir=RUN --images=PHOTOS --out=PREDICTED",
    run=run,
    flags=(
        WORKDIR,
        Flag("images", "a file, a directory or a pattern", value="WHERE", needed=True),
        Flag("out", "directory of the result", value="DIR", needed=True),
        Flag("save", "some of mask,color,overlay,probability,scales", "mask", value="KINDS"),
        Flag("protocol", "how to predict, as in evaluate.protocols", value="METHOD:SCALES"),
        Flag("flip", "averages with the mirror image, or not; else as evaluate.flip", None, bool),
        Flag("tile", "looks at larger images in tiles of this side", None, int, value="SIDE"),
        Flag("exif", "leaves EXIF orientations out; else images are as displayed", True, bool),
        Flag("submission", "packs the masks for a server: cityscapes", value="SERVER"),
        STEP,
        STOPPED_STATUS,
        DISTRIBUTED,
    ),
)
