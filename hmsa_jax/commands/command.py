"""What a command says of itself: what it does, its flags, an example."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from etils import epy

with epy.lazy_imports():  # the help needs none of it
    from hmsa_jax.auto_labels import thresholds


class UsageError(ValueError):
    """What was typed cannot be meant; the message is a line for whoever typed it."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a command.

    Attributes:
      name: as it is typed, without dashes.
      meaning: a phrase for the help.
      default: its value where it is not typed.
      kind: from what is typed to the value; a `bool` is typed as `--name` or `--noname`.
      value: what stands for the value in the help, like FILE.
      needed: whether it has to be typed.
      is_list: whether it may be typed several times; the values make a list.
    """

    name: str
    meaning: str
    default: Any = None
    kind: Callable[[str], Any] = str
    value: str = "TEXT"
    needed: bool = False
    is_list: bool = False


def read_step(text: str) -> int | str:
    """Reads what names a checkpoint: its number, 'best' or 'latest'."""
    if text in ("best", "latest"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is none; expected a number, best or latest")
    return int(text)


WORKDIR = Flag("workdir", "directory of the run", value="DIR", needed=True)
STEP = Flag(
    "step",
    "the checkpoint to take: its number, best, or latest, the newest good one, as without it",
    kind=read_step,
    value="N",
)
DISTRIBUTED = Flag(
    "distributed",
    "how several processes find each other: off, auto, or HOST:PORT,COUNT,INDEX, else auto where a"
    " cluster is evident; see docs/hosts.md",
    None,
    value="HOW",
)


def _exit_status(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is no exit status; expected 0 to 255")
    return int(text)


STOPPED_STATUS = Flag(
    "stopped_status",
    "exit status where a signal stopped it early and all is saved, for whatever starts it again",
    0,
    _exit_status,
    "N",
)


def _read_threshold(text: str) -> float | str:
    try:
        return thresholds.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


THRESHOLD = Flag(
    "threshold",
    "which labels of the teacher are kept: those above a probability P, or, given as N%, the surest"
    " N% of each class",
    0.9,
    _read_threshold,
    "P",
)


@dataclasses.dataclass(frozen=True)
class Command:
    """A verb of the command line.

    Attributes:
      summary: what it does, in a line.
      example: a whole command.
      run: does it, given the config of the experiment (None for a command that reads none) and
        the value of each flag; returns the exit status, or None if it is 0.
      flags: what it reads besides `--config` and `--config.GROUP.FIELD`.
      reads_config: whether it reads those.
      reads_file: whether `--config` is among them: else a run's own fields are changed alone.
      word: what an argument without dashes stands for, if one may be given.
      check: raises UsageError for flags that do not go together.
    """

    summary: str
    example: str
    run: Callable[[Any, argparse.Namespace], int | None]
    flags: tuple[Flag, ...] = ()
    reads_config: bool = True
    reads_file: bool = True
    word: str = ""
    check: Callable[[argparse.Namespace], None] = lambda options: None
