"""`report`: a page of a run, or of several side by side, for a browser."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import Command, Flag, UsageError, read_step

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.ablation import ablate
    from hmsa_jax.commands import config_file, execution
    from hmsa_jax.experiment import report
    from hmsa_jax.training import training_record


def check(options: argparse.Namespace) -> None:
    """Raises UsageError where it is not said where the page goes, or for no number of images."""
    if len(options.workdir) > 1 and options.out is None:
        raise UsageError("report of several runs needs --out=FILE")
    if options.images < 0:
        raise UsageError(f"--images is {options.images}; expected 0 or more")


def run(config: ConfigDict, options: argparse.Namespace) -> None:
    """Writes the page."""
    del config  # each run has its own
    workdirs = execution.paths_of(options, "workdir")
    if len(workdirs) == 1 and ablate.is_there(workdirs[0]):
        if unread := {"images", "protocol", "split", "step"}.intersection(options.typed):
            raise ValueError(
                f"{workdirs[0]} holds tables of `ablate`, whose page takes no --{min(unread)};"
                " leave it out, or name a run in it"
            )
        page = (
            workdirs[0] / ablate.PAGE if options.out is None else execution.path_of(options, "out")
        )
        ablate.report(workdirs[0], page)
        return
    out = workdirs[0] / report.NAME if options.out is None else execution.path_of(options, "out")
    report.report(
        workdirs,
        out,
        first_config=config_file.load(config_file.DEFAULT),
        overrides=options.overrides,
        images=options.images,
        protocol=options.protocol,
        split=options.split,
        steps=[
            training_record.named_step(workdir, "--workdir", options.step) for workdir in workdirs
        ],
    )


COMMAND = Command(
    summary="shows a run, or several side by side, in a page for a browser",
    example="python main.py report --workdir=RUN --workdir=OTHER_RUN --out=page.html",
    run=run,
    flags=(
        Flag(
            "workdir",
            "directory of a run, given again for each run that stands beside it; or of `ablate`",
            value="DIR",
            needed=True,
            is_list=True,
        ),
        Flag("out", "the page; without it report.html in the run", value="FILE"),
        Flag("images", "how many images are shown, those with the lowest IoU", 24, int, "N"),
        Flag(
            "protocol",
            "by which they are predicted and have the lowest IoU, one that was evaluated",
            value="METHOD:SCALES",
        ),
        Flag(
            "split", "as in data.eval_split; else that of the highest step evaluated", value="SPLIT"
        ),
        Flag(
            "step",
            "of each run's checkpoint, a number or best, rather than the highest evaluated",
            kind=read_step,
            value="N",
        ),
    ),
    reads_file=False,
    check=check,
)
