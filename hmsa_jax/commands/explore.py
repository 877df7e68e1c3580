"""`explore`: a page in the browser that shows what a network sees in pictures."""

import argparse

from etils import epy

from hmsa_jax.commands.command import STEP, WORKDIR, Command, Flag

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import run as run_lib
    from hmsa_jax.explorer import serving


def run(config: None, options: argparse.Namespace) -> None:
    """Serves the page until Ctrl-C."""
    serving.check(options.port, options.most_pixels)
    opened = run_lib.load(execution.path_of(options, "workdir"), options.step)
    serving.serve(
        opened,
        options.host,
        options.port,
        most_pixels=options.most_pixels,
        excuse=execution.in_one_line,
    )


COMMAND = Command(
    summary="shows in the browser what a trained network sees in pictures, at each scale",
    example="python main.py explore --workdir=runs/street_scenes",
    run=run,
    flags=(
        WORKDIR,
        STEP,
        Flag("host", "address to listen at; others than this machine's own open it", "127.0.0.1"),
        Flag("port", "to listen at; 0 for a free one", 8000, int, "N"),
        Flag("most_pixels", "of a picture", 2**22, int, "N"),
    ),
    reads_config=False,
)
