"""`tune-scales`: which scales of a trained network are worth their cost."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import DISTRIBUTED, STEP, WORKDIR, Command, Flag, UsageError

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import tune_scales
    from hmsa_jax.inference import scale_subsets

_BY = ("flops", "seconds")


def _read_by(text: str) -> str:
    if text not in _BY:
        raise argparse.ArgumentTypeError(f"{text!r} is none; expected {' or '.join(_BY)}")
    return text


def _read_budget(text: str) -> float:
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if not budget >= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected a number of 1, what scale 1 alone costs, or more"
        )
    return budget


def check(options: argparse.Namespace) -> None:
    """Raises UsageError where a cost that is not measured shall count."""
    if options.by == "seconds" and not options.times:
        raise UsageError("--by=seconds needs times; leave out --notimes")


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Scores all subsets of the scales, prints those worth their cost and the choice."""
    tune_scales.tune(
        config,
        execution.path_of(options, "workdir"),
        scales=scale_subsets.scales_of(options.scales),
        by=options.by,
        budget=options.budget,
        measures=options.times,
        step=execution.step_of(options),
    )


COMMAND = Command(
    summary="scores every subset of a list of scales, and says which are worth their cost",
    example="python main.py tune-scales --workdir=runs/street_scenes --budget=3",
    run=run,
    flags=(
        WORKDIR,
        Flag(
            "scales",
            "the list; every subset with scale 1 is scored",
            "0.25,0.5,0.75,1,1.25,1.5,2",
            value="NUMBERS",
        ),
        Flag("by", "which cost counts, flops or seconds", "flops", _read_by, "COST"),
        Flag(
            "budget",
            "the highest cost of the choice, in times that of scale 1 alone; else any",
            kind=_read_budget,
            value="TIMES",
        ),
        Flag("times", "leaves out to measure times", True, bool),
        STEP,
        DISTRIBUTED,
    ),
    check=check,
)
