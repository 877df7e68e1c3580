"""docs/commands.md: every command, from what it says of itself."""

from collections.abc import Iterable, Mapping

from hmsa_jax.commands import command_line
from hmsa_jax.commands.command import Command, Flag

_TOP = """# Commands

`python main.py VERB` does what the verb says; so does `hmsa-jax VERB` in any directory, once the
project is installed. `python main.py` alone lists the verbs, `python main.py VERB --help` shows the
flags of one. Verbs that read an experiment take these, too:

{common}

A run that is there has its own experiment, so that `--workdir` is enough. A field that may change
later is changed by `--config.GROUP.FIELD`; another one is refused, with both values
([configuration.md](configuration.md)).

The exit status is 0 when all is done, or saved after a signal, which `--stopped_status` tells
apart; 1 when something is wrong, which a line says (`HMSA_TRACEBACK=1` shows where); 2 when the
command was wrongly typed; 130 when it was interrupted and has nothing to save.

This page is made from [hmsa_jax/commands/](../hmsa_jax/commands/) by
`python main.py help --markdown > docs/commands.md`."""


def page(commands: Mapping[str, Command]) -> str:
    """The page as Markdown, without a line break at its end.

    Args:
      commands: verb -> what it does, in the order of the page.
    """
    common = _table([command_line.CONFIG, command_line.FIELD])
    return "\n\n".join([_TOP.format(common=common), *map(_section, commands, commands.values())])


def _section(verb: str, command: Command) -> str:
    summary = f"{command.summary[0].upper()}{command.summary[1:]}."
    parts = [f"## {verb}", summary, f"```bash\n{command.example}\n```"]
    if command.flags:
        parts.append(_table(command.flags))
    if not command.reads_config:
        parts.append("It reads no experiment.")
    elif not command.reads_file:
        parts.append("Of the flags above it takes `--config.GROUP.FIELD` alone.")
    return "\n\n".join(parts)


def _table(flags: Iterable[Flag]) -> str:
    return "\n".join(["| flag | default | |", "|---|---|---|", *map(_row, flags)])


def _row(flag: Flag) -> str:
    default = "needed" if flag.needed else "" if flag.default is None else f"`{flag.default}`"
    if flag.kind is bool:
        default = ""
    meaning = flag.meaning.replace("|", "\\|")
    return f"| `{command_line.written(flag)}` | {default} | {meaning} |"
