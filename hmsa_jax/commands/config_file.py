"""Reading the file that `--config` names: Python that defines `get_config`."""

import pathlib
import sys
import traceback
from typing import Any

import ml_collections
from absl import app

from hmsa_jax.experiment import schema

_OVERRIDE = "--config."


def parse_flags(arguments: list[str]) -> list[str]:
    """`absl.app.parse_flags_with_usage`, which also reads the file and changes its fields.

    Args:
      arguments: of the command line, the program's name first.

    Returns:
      Those that are no flags.

    Raises:
      SystemExit: a flag, a field or the file is wrong; the message is one line, or two.
    """
    try:
        return app.parse_flags_with_usage(arguments)
    except Exception as error:
        file = _named_file(arguments)
        sys.exit(f"--config={file}: {_describe(error, file)}")


def check_type(value: Any, path: str) -> ml_collections.ConfigDict:
    """What `get_config` returned; an error that names the file unless it is a config.

    Args:
      value: what stands for it.
      path: of the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no config.
    """
    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"--config={path}: no such file; expected one like configs/base.py")
    if not isinstance(value, ml_collections.ConfigDict):
        raise ValueError(
            f"--config={path}: get_config returned an object of type {type(value).__name__};"
            " expected a ml_collections.ConfigDict, as configs/base.py makes it"
        )
    return value


def refuse_unknown_fields(arguments: list[str]) -> None:
    """Exits with the name of a misspelt config field and what it may have meant.

    Before the flag is defined: ml_collections reads the overrides then, and answers with a
    traceback.
    """
    for argument in arguments:
        name, given, _ = argument.removeprefix(_OVERRIDE).partition("=")
        if not argument.startswith(_OVERRIDE):
            continue
        if name not in schema.FIELDS:
            sys.exit(f"{_OVERRIDE}{schema.no_such_field(name)}")
        if not given:
            sys.exit(f"{_OVERRIDE}{name} has no value; write {_OVERRIDE}{name}=VALUE")


def _named_file(arguments: list[str]) -> str:
    """The file as it is typed; the last one where there are several."""
    named = "the default"
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("--config", "-config"):
            named = following
        elif argument.startswith(("--config=", "-config=")):
            named = argument.partition("=")[2]
    return named


def _describe(error: Exception, file: str) -> str:
    """What is wrong with the file, and in which line."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} is no Python: {error.msg}"
    if isinstance(error, AttributeError) and "get_config" in str(error):
        return "it defines no get_config(), which makes the config; see configs/base.py"
    lines = [
        (frame.lineno, frame.line)
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename).resolve() == pathlib.Path(file).resolve()
    ]
    where = "line {} ({:.80}): ".format(*lines[-1]) if lines else ""
    return f"{where}{type(error).__name__}: {error}"
