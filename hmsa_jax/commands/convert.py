"""`convert`: weights from a PyTorch file into a run, or from a run into such a file."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import STEP, WORKDIR, Command, Flag, UsageError

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import convert


def check(options: argparse.Namespace) -> None:
    """Raises UsageError unless there is one file, and a step only to write."""
    if len({"from", "to"} & set(options.typed)) != 1:
        raise UsageError("convert needs --from=FILE or --to=FILE")
    if "from" in options.typed and "step" in options.typed:
        raise UsageError("convert --from makes step 0; it takes no --step")


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Reads or writes the file."""
    workdir = execution.path_of(options, "workdir")
    if "from" in options.typed:
        convert.convert_from(config, workdir, execution.local_path_of(options, "from"))
    else:
        convert.convert_to(
            config, workdir, execution.local_path_of(options, "to"), execution.step_of(options)
        )


COMMAND = Command(
    summary="reads weights of a PyTorch program into a new run, or writes those of a run for one",
    example="python main.py convert --from=FILE.pth --config=configs/published.py --workdir=RUN",
    run=run,
    flags=(
        WORKDIR,
        Flag("from", "a .pth or .safetensors file to read", value="FILE"),
        Flag("to", "a .pth or .safetensors file to write", value="FILE"),
        STEP,
    ),
    check=check,
)
