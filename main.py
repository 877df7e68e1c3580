"""The front door: python main.py VERB --FLAG=VALUE."""

import importlib
import os
import signal
import sys

from hmsa_jax.commands import command_guide, command_line
from hmsa_jax.commands.command import Command, UsageError

COMMANDS = {
    "train": "hmsa_jax.commands.train",
    "evaluate": "hmsa_jax.commands.evaluate",
    "attention": "hmsa_jax.commands.attention",
    "tune-scales": "hmsa_jax.commands.tune_scales",
    "compare": "hmsa_jax.commands.compare",
    "ablate": "hmsa_jax.commands.ablate",
    "report": "hmsa_jax.commands.report",
    "predict": "hmsa_jax.commands.predict",
    "explore": "hmsa_jax.commands.explore",
    "autolabel": "hmsa_jax.commands.autolabel",
    "convert": "hmsa_jax.commands.convert",
    "export": "hmsa_jax.commands.export",
    "check-data": "hmsa_jax.commands.check_data",
    "build-data": "hmsa_jax.commands.build_data",
    "backends": "hmsa_jax.commands.backends",
    "fields": "hmsa_jax.commands.fields",
}
_HELP = ("-h", "--help", "help")


def start() -> None:
    """Does what is typed, as `hmsa-jax` and as `python main.py`."""
    signal.signal(signal.SIGINT, _leave)  # until a command begins there is nothing to save
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough, like `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def main(arguments: list[str] | None = None) -> None:
    """Does what is typed.

    Args:
      arguments: of the command line, without the program's name; those of this process if it is
        left out.

    Raises:
      SystemExit: it did not succeed: status 1; was wrongly typed: 2; was interrupted: 130; or was
        stopped early by a signal, and `--stopped_status` is not 0.
    """
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in _HELP and rest == ["--markdown"]:
        print(command_guide.page({verb: _load(verb) for verb in COMMANDS}))
        return
    if verb in _HELP:
        print(command_line.listing({verb: _load(verb).summary for verb in COMMANDS}))
        return
    try:
        if verb not in COMMANDS:
            near = command_line.nearest(verb, COMMANDS)
            raise UsageError(f"{verb!r} is no verb{near or f'; name one of {_listed()}'}")
        command = _load(verb)
        if set(rest) & {*_HELP[:2]}:
            print(command_line.describe(command))
            return
        options = command_line.parse(verb, command, rest)
    except UsageError as error:
        print(f"{error}\n`python main.py {_asking(verb)}` says more.", file=sys.stderr)
        sys.exit(2)
    from hmsa_jax.commands import execution  # after the command line is found right: it is slow

    execution.execute(verb, command, options, rest)


def _leave(number: int, frame: object) -> None:
    os.write(sys.stderr.fileno(), b"Interrupted.\n")
    os._exit(130)


def _load(verb: str) -> Command:
    return importlib.import_module(COMMANDS[verb]).COMMAND


def _asking(verb: str) -> str:
    return f"{verb} --help" if verb in COMMANDS else "--help"


def _listed() -> str:
    return ", ".join(COMMANDS)


if __name__ == "__main__":
    start()
