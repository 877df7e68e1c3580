"""`convert`: weights from a file into a run, or from a run into a PyTorch file."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import STEP, WORKDIR, Command, Flag, UsageError

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import config_file, execution
    from hmsa_jax.experiment import convert, run_directory
    from hmsa_jax.weights import weight_file


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
        source = execution.local_path_of(options, "from")
        tensors = None
        names_network = options.config is not None or "model.trunk" in options.overrides
        if not names_network and not run_directory.exists(workdir):
            tensors = weight_file.read(source)
            base = config_file.load(config_file.PUBLISHED)
            config = convert.config_of(source, tensors, base, options.overrides)
        convert.convert_from(config, workdir, source, tensors)
    else:
        convert.convert_to(
            config, workdir, execution.local_path_of(options, "to"), execution.step_of(options)
        )


COMMAND = Command(
    summary="reads published weights into a new run, or writes those of a run for PyTorch",
    example="python main.py convert --from=FILE --workdir=RUN",
    run=run,
    flags=(
        WORKDIR,
        Flag(
            "from",
            "a .pth, .safetensors or .pdparams file to read; the run has its network, and the rest"
            " as in configs/published.py, unless --config or --config.model.trunk is given",
            value="FILE",
        ),
        Flag("to", "a .pth or .safetensors file to write", value="FILE"),
        STEP,
    ),
    check=check,
)
