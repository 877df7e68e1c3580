"""The front door: python main.py COMMAND --config=configs/X.py --workdir=DIR."""

import difflib
import os
import pathlib
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from hmsa_jax import check_data, config, convert, evaluate, train
from hmsa_jax.progress import console

_COMMANDS = ("train", "evaluate", "convert", "check-data")
_DEFAULT_CONFIG = pathlib.Path(__file__).parent / "configs" / "street_scenes.py"
_OVERRIDE = "--config."
_USER_ERRORS = (ValueError, FileNotFoundError, FloatingPointError)


def _refuse_unknown_fields(arguments: list[str]) -> None:
    """Exits with the name of a misspelt config field and what it may have meant."""
    for argument in arguments:
        name = argument.removeprefix(_OVERRIDE).partition("=")[0]
        if argument.startswith(_OVERRIDE) and name not in config.FIELDS:
            near = difflib.get_close_matches(name, config.FIELDS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "configs/base.py lists the fields"
            sys.exit(f"{_OVERRIDE}{name}: no such field; {hint}")


# Before the flag is defined: ml_collections reads the overrides then, and answers with a traceback.
_refuse_unknown_fields(sys.argv)
_CONFIG = config_flags.DEFINE_config_file(
    "config", str(_DEFAULT_CONFIG), "the experiment; --config.GROUP.FIELD=VALUE changes it"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "directory of the run; check-data needs none")
_FROM = flags.DEFINE_string("from", None, "convert: a .pth or .safetensors file to read")
_TO = flags.DEFINE_string("to", None, "convert: a .pth or .safetensors file to write")


def main(arguments: list[str]) -> None:
    if len(arguments) != 2 or arguments[1] not in _COMMANDS:
        raise app.UsageError(f"name one command: {', '.join(_COMMANDS)}")
    command = arguments[1]
    files = [flag.value for flag in (_FROM, _TO) if flag.value is not None]
    if len(files) != (command == "convert"):
        raise app.UsageError("convert needs --from=FILE or --to=FILE; other commands take neither")
    if command != "check-data" and _WORKDIR.value is None:
        raise app.UsageError(f"{command} needs --workdir=DIR, the directory of the run")
    logging.set_verbosity(logging.WARNING)  # orbax reports every file
    _cache_compilations()
    try:
        _run(command, _CONFIG.value)
    except _USER_ERRORS as error:
        if os.environ.get("HMSA_TRACEBACK"):
            raise
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        console.print("(HMSA_TRACEBACK=1 shows where.)")
        sys.exit(1)


def _run(command: str, experiment) -> None:
    if command == "check-data":
        if not check_data.check_data(experiment):
            sys.exit(1)
        return
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    if command == "train":
        train.train(experiment, workdir)
    elif command == "evaluate":
        evaluate.evaluate(experiment, workdir)
    elif _FROM.value is not None:
        convert.convert_from(experiment, workdir, pathlib.Path(_FROM.value).expanduser())
    else:
        convert.convert_to(experiment, workdir, pathlib.Path(_TO.value).expanduser())


def _cache_compilations() -> None:
    """A second start finds its programs compiled; JAX_COMPILATION_CACHE_DIR moves the cache."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = pathlib.Path("~/.cache/hmsa_jax/compiled").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(cache))


if __name__ == "__main__":
    app.run(main)
