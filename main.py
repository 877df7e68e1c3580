"""The front door: python main.py COMMAND --config=configs/X.py --workdir=DIR."""

# ruff: noqa: E402
import contextlib
import os
import pathlib
import shlex
import signal
import sys
from typing import NoReturn


def _leave(number: int, frame) -> None:
    os.write(sys.stderr.fileno(), b"Interrupted.\n")
    os._exit(130)


if __name__ == "__main__":  # what follows takes seconds, and has nothing to save
    signal.signal(signal.SIGINT, _leave)

import jax
from absl import app, flags
from ml_collections import config_flags

from hmsa_jax.commands import (
    autolabel,
    backends,
    check_data,
    config_file,
    convert,
    evaluate,
    fields,
    train,
)
from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import feasibility, schema
from hmsa_jax.runtime import system_errors
from hmsa_jax.runtime.paths import local_path
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint_reading

# The flags that a command takes besides --config and --workdir.
_COMMANDS = {
    "train": ("step", "distributed"),
    "evaluate": ("step", "distributed"),
    "convert": ("from", "to", "step"),
    "autolabel": (
        *("images", "out", "threshold", "protocol", "flip", "previews"),
        *("step", "distributed"),
    ),
    "check-data": (),
    "backends": ("targets", "out", "steps", "images_per_device", "quick"),
    "fields": ("markdown",),
}
_WITHOUT_WORKDIR = ("check-data", "backends", "fields")
_DEFAULT_CONFIG = pathlib.Path(__file__).parent / "configs" / "street_scenes.py"
_USER_ERRORS = (ValueError, OSError, FloatingPointError)


config_file.refuse_unknown_fields(sys.argv)
config_flags.DEFINE_config_file(
    "config", str(_DEFAULT_CONFIG), "the experiment; --config.GROUP.FIELD=VALUE changes it"
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "directory of the run; check-data and backends need none"
)
_FROM = flags.DEFINE_string("from", None, "convert: a .pth or .safetensors file to read")
_TO = flags.DEFINE_string("to", None, "convert: a .pth or .safetensors file to write")
_STEP = flags.DEFINE_integer(
    "step", None, "the checkpoint to go on from, score, label with or write; the newest good one"
)
_IMAGES = flags.DEFINE_string("images", None, "autolabel: a directory, or DATASET/SPLIT")
_OUT = flags.DEFINE_string("out", None, "autolabel, backends: directory of what is made")
_THRESHOLD = flags.DEFINE_float("threshold", 0.9, "autolabel: probability of a label that is kept")
_PROTOCOL = flags.DEFINE_string("protocol", None, "autolabel: as in evaluate.protocols")
_FLIP = flags.DEFINE_bool("flip", True, "autolabel: average with the mirror image")
_TARGETS = flags.DEFINE_string("targets", "cpu", "backends: like cpu,v5e:2x2,v5p:2x2x1,h100:8")
_STEPS = flags.DEFINE_string("steps", "train,evaluate", "backends: one of them, or both")
_QUICK = flags.DEFINE_bool(
    "quick", False, "backends: compile for TPUs with little optimisation, in minutes; no time then"
)
_IMAGES_PER_DEVICE = flags.DEFINE_integer("images_per_device", 1, "backends: of the train step")
_MARKDOWN = flags.DEFINE_bool("markdown", False, "fields: print docs/configuration.md")
_PREVIEWS = flags.DEFINE_bool("previews", False, "autolabel: write pictures to look at")

_DISTRIBUTED = flags.DEFINE_string(
    "distributed", "off", f"several processes, see docs/hosts.md: {hosts.EXPECTED}"
)


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command, *words = arguments[1:] or [""]
    if command not in _COMMANDS or len(words) > (command == "fields"):
        raise app.UsageError(f"name one command: {', '.join(_COMMANDS)}")
    _check_flags(command)
    if command not in _WITHOUT_WORKDIR and _WORKDIR.value is None:
        raise app.UsageError(f"{command} needs --workdir=DIR, the directory of the run")
    checkpoint_reading.hush_orbax()
    _cache_compilations()
    try:
        if command == "fields":
            fields.run(words[0] if words else None, markdown=_MARKDOWN.value)
            return
        flag = flags.FLAGS["config"]  # a holder of the flag would refuse None
        experiment = config_file.check_type(flag.value, flag.config_filename)
        with hosts.joined(_DISTRIBUTED.value):
            hosts.check_agreement("command", _facts(command, experiment))
            _run(command, experiment)
    except Exception as error:
        line = _in_one_line(error)
        if line is None or os.environ.get("HMSA_TRACEBACK"):
            raise
        _fail(f"{line}\n(HMSA_TRACEBACK=1 shows where.)", 1)
    except KeyboardInterrupt as interrupt:
        _fail(str(interrupt) or "Interrupted.", 130)


def _in_one_line(error: Exception) -> str | None:
    """What a user is told of an error; None for one that only a traceback explains."""
    if (of_system := system_errors.of_system(error)) is not None:
        return f"{type(of_system).__name__}: {system_errors.describe(of_system)}"
    if (of_memory := feasibility.out_of_memory(error)) is not None:
        return f"MemoryError: {of_memory}"
    return f"{type(error).__name__}: {error}" if isinstance(error, _USER_ERRORS) else None


def _fail(text: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # as on a full disk, if that is where it goes
        tell(text, style="red")
    sys.exit(status)


def _check_flags(command: str) -> None:
    """Refuses flags that the command does not read, and the lack of one that it needs."""
    for flag in sorted({flag for names in _COMMANDS.values() for flag in names}):
        if flags.FLAGS[flag].present and flag not in _COMMANDS[command]:
            raise app.UsageError(f"{command} takes no --{flag}")
    if command == "convert" and (_FROM.value is None) == (_TO.value is None):
        raise app.UsageError("convert needs --from=FILE or --to=FILE")
    if _FROM.value is not None and _STEP.value is not None:
        raise app.UsageError("convert --from makes step 0; it takes no --step")
    if command == "autolabel" and (_IMAGES.value is None or _OUT.value is None):
        raise app.UsageError("autolabel needs --images=DIR or DATASET/SPLIT, and --out=DIR")
    if command == "backends" and _OUT.value is None:
        raise app.UsageError("backends needs --out=DIR, the directory of its table")


def _facts(command: str, experiment) -> dict[str, str]:
    """All that decides what a process does, as it was typed."""
    names = ("workdir", *(name for name in _COMMANDS[command] if name != "distributed"))
    typed = {f"--{name}": repr(flags.FLAGS[name].value) for name in names}
    return {"command": command, "jax": jax.__version__} | typed | schema.in_words(experiment)


def _run(command: str, experiment) -> None:
    if command == "check-data":
        if not check_data.check_data(experiment):
            sys.exit(1)
        return
    if command == "backends":
        _run_backends(experiment)
        return
    workdir = _path(_WORKDIR)
    if command == "train":
        train.train(experiment, workdir, _STEP.value)
    elif command == "evaluate":
        evaluate.evaluate(experiment, workdir, _STEP.value)
    elif command == "autolabel":
        options = {"threshold": _THRESHOLD.value, "protocol": _PROTOCOL.value}
        options |= {"flip": _FLIP.value, "previews": _PREVIEWS.value, "step": _STEP.value}
        autolabel.autolabel(experiment, workdir, _IMAGES.value, _path(_OUT), **options)
    elif _FROM.value is not None:
        convert.convert_from(experiment, workdir, _path(_FROM))
    else:
        convert.convert_to(experiment, workdir, _path(_TO), _STEP.value)


def _run_backends(experiment) -> None:
    backends.backends(
        experiment,
        _path(_OUT),
        targets=_TARGETS.value,
        steps=_STEPS.value,
        images_per_device=_IMAGES_PER_DEVICE.value,
        quick=_QUICK.value,
        command=shlex.join(["python", "main.py", *sys.argv[1:]]),
    )


def _path(flag: flags.FlagHolder) -> pathlib.Path:
    return local_path(flag.value, f"--{flag.name}")


def _cache_compilations() -> None:
    """A second start finds its programs compiled; JAX_COMPILATION_CACHE_DIR moves the cache."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        cache = local_path("~/.cache/hmsa_jax/compiled", "the cache of compiled programs")
        cache.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        tell(f"Every start compiles anew: {_in_one_line(error)}", style="yellow")
        tell("JAX_COMPILATION_CACHE_DIR=DIR names another place for what is compiled.")
    else:
        jax.config.update("jax_compilation_cache_dir", str(cache))


if __name__ == "__main__":
    app.run(main, flags_parser=config_file.parse_flags)
