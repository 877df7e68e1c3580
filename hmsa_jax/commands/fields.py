"""`fields`: lists the fields of an experiment, or explains those that a word stands for."""

import argparse
import shutil

from etils import epy

from hmsa_jax.commands.command import Command, Flag, UsageError

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.config import field_guide


def check(options: argparse.Namespace) -> None:
    """Raises UsageError for a word beside --markdown."""
    if options.markdown and options.word is not None:
        raise UsageError(f"fields prints a page of all with --markdown; leave {options.word!r} out")


def run(config: None, options: argparse.Namespace) -> None:
    """Prints what a user asks of the fields.

    Raises:
      ValueError: no field has anything to do with the word.
    """
    del config
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    if options.markdown:
        print(field_guide.page())
    elif options.word is None:
        print(field_guide.listing(width))
        print("\n`python main.py fields WORD` explains; `--config.GROUP.FIELD=VALUE` changes.")
    else:
        print(field_guide.explanation(field_guide.find(options.word), width))


COMMAND = Command(
    summary="lists the fields of an experiment, or explains those that a word stands for",
    example="python main.py fields scale",
    run=run,
    flags=(Flag("markdown", "prints docs/configuration.md", False, bool),),
    reads_config=False,
    word="WORD",
    check=check,
)
