"""From what is typed to the values of a command's flags, and the help that says which there are."""

import argparse
import difflib
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn

from hmsa_jax.commands.command import Command, Flag, UsageError

_OVERRIDE = "--config."
_WIDTH = 100
CONFIG = Flag(
    "config",
    "the experiment, a file like configs/street_scenes.py, which is the default for a new run; a"
    " run that is there has its own, and what differs from the file is told",
    value="FILE",
)
FIELD = Flag(
    "config.GROUP.FIELD",
    "changes a field of the experiment; `python main.py fields` lists them",
    value="VALUE",
)


class _Parser(argparse.ArgumentParser):
    """Raises what it would print."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def parse(verb: str, command: Command, arguments: list[str]) -> argparse.Namespace:
    """The values of a command's flags.

    Args:
      verb: its name.
      command: what it takes.
      arguments: those that follow its name.

    Returns:
      An attribute for each flag; `typed`, the names of those that were typed; `overrides`, fields
      of the config -> their values; and `config`, the file or None.

    Raises:
      UsageError: a flag is unknown, lacks its value, or is missing; or a field is wrong.
    """
    overrides, arguments = _overrides(command, arguments)
    parser = _Parser(prog=f"python main.py {verb}", add_help=False, allow_abbrev=False)
    for flag in _flags(command):
        if flag.kind is bool:
            parser.add_argument(f"--{flag.name}", dest=flag.name, action="store_true")
            parser.add_argument(f"--no{flag.name}", dest=flag.name, action="store_false")
            parser.set_defaults(**{flag.name: None})
        else:
            action = "append" if flag.is_list else "store"
            parser.add_argument(f"--{flag.name}", type=flag.kind, action=action)
    if command.word:
        parser.add_argument("word", nargs="?")
    options, unknown = parser.parse_known_args(_switches_in_words(command, arguments))
    if unknown:
        raise UsageError(_unknown(verb, command, unknown[0]))
    options.typed = [f.name for f in _flags(command) if getattr(options, f.name) is not None]
    for flag in _flags(command):
        if flag.needed and flag.name not in options.typed:
            raise UsageError(f"{verb} needs --{flag.name}={flag.value}, {flag.meaning}")
        if flag.name not in options.typed:
            setattr(options, flag.name, flag.default)
    options.overrides = overrides
    command.check(options)
    return options


def describe(command: Command) -> str:
    """The help of a command: what it does, an example, its flags."""
    flags = [*_flags(command), *([FIELD] if command.reads_config else [])]
    what = f"{command.summary[0].upper()}{command.summary[1:]}."
    columns = _columns((written(flag), _meaning(flag)) for flag in flags)
    return "\n".join([what, "", f"  {command.example}", "", *columns])


def listing(summaries: dict[str, str]) -> str:
    """The commands with a line each.

    Args:
      summaries: verb -> what it does.
    """
    lines = ["python main.py VERB [--FLAG=VALUE ...]", "", *_columns(summaries.items()), ""]
    return "\n".join([*lines, "`python main.py VERB --help` shows the flags of a verb."])


def nearest(word: str, known: Iterable[str]) -> str:
    """A question whether another word was meant, or nothing if none is alike."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _flags(command: Command) -> list[Flag]:
    return [*command.flags, *([CONFIG] if command.reads_config and command.reads_file else [])]


def _overrides(command: Command, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The fields that were typed with their values, and the arguments that are left."""
    typed = [argument for argument in arguments if argument.startswith(_OVERRIDE)]
    if not typed or not command.reads_config:
        return {}, arguments
    from hmsa_jax.config import schema

    overrides = {}
    for argument in typed:
        name, given, text = argument.removeprefix(_OVERRIDE).partition("=")
        if name not in schema.FIELDS:
            raise UsageError(f"{_OVERRIDE}{schema.no_such_field(name)}")
        if not given:
            raise UsageError(f"{_OVERRIDE}{name} has no value; write {_OVERRIDE}{name}=VALUE")
        try:
            overrides[name] = schema.parse(name, text)
        except ValueError as error:
            raise UsageError(f"{_OVERRIDE}{error}") from None
    return overrides, [argument for argument in arguments if argument not in typed]


def _switches_in_words(command: Command, arguments: list[str]) -> list[str]:
    """`--flip=False` as `--noflip`."""
    switches = {
        f"--{flag.name}={text}": f"--{'' if is_on else 'no'}{flag.name}"
        for flag in command.flags
        if flag.kind is bool
        for is_on, texts in ((True, ("True", "true", "1")), (False, ("False", "false", "0")))
        for text in texts
    }
    return [switches.get(argument, argument) for argument in arguments]


def _unknown(verb: str, command: Command, argument: str) -> str:
    name = argument.partition("=")[0]
    if not argument.startswith("-"):
        return f"{verb} takes no {argument!r}; flags are written --NAME=VALUE"
    if name.startswith(_OVERRIDE):
        return f"{verb} reads no config; leave {name} out"
    known = [written(flag).partition("=")[0] for flag in _flags(command)]
    return f"{verb} takes no {name}{nearest(name, known)}"


def written(flag: Flag) -> str:
    """How a flag is typed, with a word in place of its value."""
    if flag.kind is bool:
        return f"--{'no' if flag.default else ''}{flag.name}"
    return f"--{flag.name}={flag.value}"


def _meaning(flag: Flag) -> str:
    if flag.needed:
        return f"{flag.meaning} (needed)"
    shown = flag.kind is not bool and flag.default is not None
    return f"{flag.meaning} ({flag.default})" if shown else flag.meaning


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    indent = max((len(left) for left, _ in rows), default=0) + 4
    return [
        line
        for left, right in rows
        for line in textwrap.wrap(
            right,
            _WIDTH,
            initial_indent=f"  {left}".ljust(indent),
            subsequent_indent=" " * indent,
        )
    ]
