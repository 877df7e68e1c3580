"""`check-data`: reads a whole data set and tells what is wrong with it."""

import argparse

from etils import epy
from ml_collections import ConfigDict

from hmsa_jax.commands.command import Command, Flag, UsageError

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.commands import execution
    from hmsa_jax.experiment import check_data, proposal


def check(options: argparse.Namespace) -> None:
    """Raises UsageError for flags that do not go together, or for no number of images."""
    if options.propose and options.browse is not None:
        raise UsageError(
            "--browse shows the classes, which --propose only proposes; leave one of them out"
        )
    if "pictures" in options.typed and options.browse is None:
        raise UsageError("--pictures is of the page; name that with --browse=FILE")
    if options.pictures < 0:
        raise UsageError(f"--pictures is {options.pictures}; expected 0 or more")


def run(config: ConfigDict, options: argparse.Namespace) -> int:
    """Decodes every image and label, or proposes classes; 1 if anything is wrong."""
    if options.propose:
        return 0 if proposal.propose(config) else 1
    page = None if options.browse is None else execution.path_of(options, "browse")
    return 0 if check_data.check_data(config, page, pictures=options.pictures) else 1


COMMAND = Command(
    summary="reads every image and label of a data set; tells what it holds and what is wrong",
    example="python main.py check-data --config.data.name=folder --config.data.dir=PHOTOS",
    run=run,
    flags=(
        Flag("propose", "writes classes.json for masks that have none, to be edited", False, bool),
        Flag("browse", "a page of it all for a browser, with images", value="FILE"),
        Flag("pictures", "how many images the page shows, odd ones first", 48, int, "N"),
    ),
    check=check,
)
