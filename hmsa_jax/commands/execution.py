"""Doing what was typed: the config, the other processes, and errors in a line."""

import argparse
import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

import jax
from absl import flags
from ml_collections import ConfigDict

from hmsa_jax.commands import config_file
from hmsa_jax.commands.command import WORKDIR, Command
from hmsa_jax.config import schema
from hmsa_jax.distributed import hosts, joining
from hmsa_jax.experiment import feasibility, run_directory
from hmsa_jax.runtime import background, storage, system_errors, versions
from hmsa_jax.runtime.paths import any_path, local_path
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint_reading, training_record

_USER_ERRORS = (ValueError, OSError, FloatingPointError)


def execute(verb: str, command: Command, options: argparse.Namespace, typed: list[str]) -> None:
    """Does what a command line asks for.

    Args:
      verb: name of the command.
      command: what it is.
      options: from `command_line.parse`.
      typed: the command line after the verb.

    Raises:
      SystemExit: it did not succeed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # libraries ask for theirs, which nobody types here
    checkpoint_reading.hush_orbax()
    _cache_compilations()
    options.command_line = ["python", "main.py", verb, *typed]
    background.status = 1  # of an error that nobody expects
    try:
        config = read_config(command, options)
        with joining.joined(getattr(options, "distributed", "off")):
            hosts.check_agreement("command", _facts(verb, command, options, config))
            status = command.run(config, options)
    except Exception as error:
        line = in_one_line(error)
        if line is None or os.environ.get("HMSA_TRACEBACK"):
            raise
        _fail(f"{line}\n(HMSA_TRACEBACK=1 shows where.)", 1)
    except KeyboardInterrupt as interrupt:
        _fail(str(interrupt) or "Interrupted.", 130)
    background.status = status or 0
    if status:
        sys.exit(status)


def read_config(command: Command, options: argparse.Namespace) -> ConfigDict | None:
    """The config that a command is about: that of its run, of a file, or the default one.

    Raises:
      ValueError: the file is no config, or does not go with the run.
      FileNotFoundError: there is no such file.
    """
    if not command.reads_config:
        return None
    named = options.config if command.reads_file else None
    file = None if named is None else config_file.load(named)
    if WORKDIR in command.flags:
        workdir = any_path(options.workdir, "--workdir")
        if run_directory.exists(workdir):
            return run_directory.resolve(workdir, file, options.overrides)
    config = config_file.load(config_file.DEFAULT) if file is None else file
    return schema.override(config, options.overrides)


def path_of(options: argparse.Namespace, name: str) -> pathlib.Path:
    """The path that a flag names, of this machine or in a bucket."""
    return any_path(getattr(options, name), f"--{name}")


def paths_of(options: argparse.Namespace, name: str) -> list[pathlib.Path]:
    """The paths that a flag names which may be given several times."""
    return [any_path(text, f"--{name}") for text in getattr(options, name)]


def local_path_of(options: argparse.Namespace, name: str) -> pathlib.Path:
    """The path of this machine that a flag names."""
    return local_path(getattr(options, name), f"--{name}")


def step_of(options: argparse.Namespace, step: str = "step", run: str = "workdir") -> int | None:
    """The checkpoint that a flag names, of the run that another one names; None: the newest."""
    return training_record.named_step(path_of(options, run), f"--{run}", getattr(options, step))


def in_one_line(error: Exception) -> str | None:
    """What a user is told of an error; None for one that only a traceback explains."""
    if (of_bucket := storage.describe(error)) is not None:
        return of_bucket
    if (of_system := system_errors.of_system(error)) is not None:
        return f"{type(of_system).__name__}: {system_errors.describe(of_system)}"
    if (of_memory := feasibility.out_of_memory(error)) is not None:
        return f"MemoryError: {of_memory}"
    return f"{type(error).__name__}: {error}" if isinstance(error, _USER_ERRORS) else None


def _fail(text: str, status: int) -> NoReturn:
    with contextlib.suppress(OSError):  # as on a full disk, if that is where it goes
        tell(text, style="red")
    background.status = status
    sys.exit(status)


def _facts(
    verb: str, command: Command, options: argparse.Namespace, config: ConfigDict | None
) -> Mapping[str, str]:
    """All that decides what a process does, as it was typed."""
    typed = {
        f"--{flag.name}": repr(getattr(options, flag.name))
        for flag in command.flags
        if flag.name != "distributed"
    }
    fields = {} if config is None else schema.in_words(config)
    return {"command": verb} | versions.of_all() | typed | fields


def _cache_compilations() -> None:
    """A second start finds its programs compiled; JAX_COMPILATION_CACHE_DIR moves the cache."""
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        cache = local_path("~/.cache/hmsa_jax/compiled", "the cache of compiled programs")
        cache.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        tell(f"Every start compiles anew: {in_one_line(error)}", style="yellow")
        tell("JAX_COMPILATION_CACHE_DIR=DIR names another place for what is compiled.")
    else:
        jax.config.update("jax_compilation_cache_dir", str(cache))
