"""`compare`: mean IoUs of two runs, or of the protocols of one, and whether they really differ."""

import argparse

from etils import epy

from hmsa_jax.commands.command import WORKDIR, Command, Flag, UsageError, read_step

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import compare


def check(options: argparse.Namespace) -> None:
    """Raises UsageError for a step of a run that is not named."""
    if "other_step" in options.typed and "other" not in options.typed:
        raise UsageError("compare takes --other_step beside --other=DIR")


def run(config: None, options: argparse.Namespace) -> None:
    """Prints the mean IoUs, their differences and the intervals of these."""
    del config
    first = compare.Choice(
        execution.path_of(options, "workdir"), "--workdir", execution.step_of(options)
    )
    other = None
    if options.other is not None:
        step = execution.step_of(options, "other_step", "other")
        other = compare.Choice(execution.path_of(options, "other"), "--other", step)
    compare.compare(first, other, split=options.split)


COMMAND = Command(
    summary="compares the scores of two runs, or of one run's protocols, image by image",
    example="python main.py compare --workdir=RUN --other=OTHER_RUN",
    run=run,
    flags=(
        WORKDIR,
        Flag("other", "directory of another run; else protocols are compared", value="DIR"),
        Flag(
            "split", "as in data.eval_split; else that of the highest step evaluated", value="SPLIT"
        ),
        Flag(
            "step",
            "of the run's checkpoint, a number or best, rather than the highest evaluated",
            kind=read_step,
            value="N",
        ),
        Flag("other_step", "of the other run's checkpoint, likewise", kind=read_step, value="N"),
    ),
    reads_config=False,
    check=check,
)
