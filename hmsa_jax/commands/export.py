"""`export`: a trained network as one file that needs nothing of this project."""

import argparse
import re

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import STEP, WORKDIR, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import export


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Writes the file."""
    export.export(
        config,
        execution.path_of(options, "workdir"),
        execution.local_path_of(options, "out"),
        options.size,
        form=options.format,
        is_exact=options.exact,
        protocol=options.protocol,
        flip=options.flip,
        dtype=options.dtype,
        precision=options.precision,
        calibration=options.calibration,
        step=execution.step_of(options),
    )


def _read_size(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if sides is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size; expected rows and columns, like 512x1024"
        )
    return int(sides[1]), int(sides[2])


def _read_dtype(text: str) -> str:
    if text not in ("bfloat16", "float32"):
        raise argparse.ArgumentTypeError(f"{text!r} is none; expected bfloat16 or float32")
    return text


COMMAND = Command(
    summary="writes a trained network into one file that runs without this project",
    example="python main.py export --workdir=RUN --size=512x1024 --out=network.hmsa",
    run=run,
    flags=(
        WORKDIR,
        Flag("out", "the file to write", value="FILE", needed=True),
        Flag("size", "most rows and columns of an image", None, _read_size, "HxW", needed=True),
        Flag("format", "stablehlo, which JAX runs, or onnx", "stablehlo", value="NAME"),
        Flag("exact", "all images have that size; else smaller ones may come", False, bool),
        Flag("protocol", "how to predict, as in evaluate.protocols", value="METHOD:SCALES"),
        Flag("flip", "averages with the mirror image, or not; else as evaluate.flip", None, bool),
        Flag(
            "dtype",
            "that it computes in; else that of the run, in ONNX float32",
            None,
            _read_dtype,
            "NAME",
        ),
        Flag("precision", "float32, float16 or int8, in ONNX; else float32", value="NAME"),
        Flag(
            "calibration",
            "images for int8, cut to the size: a directory, or DATASET/SPLIT; 32 are read",
            value="WHERE",
        ),
        STEP,
    ),
)
