"""Reading checkpoints: which there are, which of them are good, and their arrays."""

import dataclasses
import itertools
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils.epath import gpath

from hmsa_jax.distributed import hosts
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import integrity

# The items of a checkpoint. Orbax gave the first its name before there was a second.
STATE = "default"
DIGESTS = "digests"
COMMITTED = "commit_success.txt"

_TRIES = 20  # while a run that trains removes what is read
_LONGEST_REASON = 240  # characters; tensorstore names every file that it went through
_rounds = itertools.count()


class DamagedError(ValueError):
    """A checkpoint cannot be read, is not what was written, or is not finite."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a checkpoint holds.

    Attributes:
      step: of the checkpoint.
      tree: nested dict of host arrays.
    """

    step: int
    tree: dict


class _LiteralPath(gpath.PosixGPath):
    """A path whose own characters are no pattern when orbax looks for files below it."""

    def glob(self, pattern: str) -> Iterator["_LiteralPath"]:
        return map(_LiteralPath, pathlib.Path(self).glob(pattern))


def directory_of(run: pathlib.Path, field: str) -> pathlib.Path:
    """Where the checkpoints of a run lie, as a path for orbax.

    Args:
      run: directory of the run.
      field: how the user names it.

    Raises:
      ValueError: checkpoints cannot be written there.
    """
    if storage.is_remote(run):
        return run / "checkpoints"
    directory = os.fspath(run.resolve() / "checkpoints")
    # tensorstore takes a backslash for a slash, and knows UTF-8 only; to epath gs:/ is a bucket.
    is_utf8 = directory == directory.encode(errors="replace").decode()
    if "\\" in directory or "/gs:/" in directory or not is_utf8:
        raise ValueError(
            f"{field} is {os.fspath(run)!a}, but no checkpoint can be written below a"
            " directory with a backslash or bytes that are not UTF-8 in its path, or below one"
            f" called gs:, {directory!a}; name another directory"
        )
    return _LiteralPath(directory)


def steps_in(directory: pathlib.Path) -> list[int]:
    """The steps of the checkpoints that were written to the end, in order."""
    found = storage.names(directory) if storage.is_remote(directory) or directory.is_dir() else []
    numbers = [name for name in found if name.isdecimal() and name == str(int(name))]
    return sorted(int(name) for name in numbers if _is_whole(directory / name))


def remove_unfinished(directory: pathlib.Path) -> None:
    """Removes what a killed process left of checkpoints on a disk, while no other writes there.

    In a bucket that has the name of a checkpoint, and could be a copy that is under way.
    """
    if storage.is_remote(directory) or not directory.is_dir():
        return
    for name in storage.names(directory):
        if re.match(r"\d+\.orbax-checkpoint-tmp", name):
            storage.remove_tree(directory / name)


def _is_whole(checkpoint: pathlib.Path) -> bool:
    """Whether orbax wrote it to the end: it renames it then or, in a bucket, adds a file."""
    if storage.is_remote(checkpoint):
        return (checkpoint / COMMITTED).exists()
    return checkpoint.is_dir()


def find_step(run: pathlib.Path, field: str, step: int | None = None) -> int:
    """The step that `--step` names or, without one, the newest; nothing is read.

    Args:
      run: directory of the run.
      field: how the user names it.
      step: from `--step`.

    Raises:
      FileNotFoundError: the run has no such checkpoint.
    """
    steps = steps_in(directory_of(run, field))
    if not steps:
        raise FileNotFoundError(
            f"{field} is {run}, which holds no checkpoint; name the --workdir of a run, or of"
            " `convert --from`"
        )
    if step is not None and step not in steps:
        raise FileNotFoundError(f"--step is {step}, but {run} holds {_listed(steps)}")
    return steps[-1] if step is None else step


def read(
    run: pathlib.Path,
    field: str,
    step: int | None = None,
    *,
    choose: Callable[[dict], Iterable[str]] = tuple,
    check: Callable[[int, dict], None] = lambda step, stored: None,
) -> Reading:
    """Reads the step that `--step` names or, without one, the newest that is good.

    What is passed over is told. Several processes all call this, and read the same step.

    Args:
      run: directory of the run.
      field: how the user names it.
      step: from `--step`.
      choose: names to read, given the stored tree; all of them if it is left out.
      check: given a step and its tree of shapes and dtypes; raises if the caller cannot use that.

    Raises:
      FileNotFoundError: the run has no such checkpoint.
      ValueError: it is damaged, or all are; or what `check` raises.
    """
    directory = directory_of(run, field)
    damaged: dict[int, str] = {}
    for _ in range(_TRIES):
        moment = f"reading {next(_rounds)}"
        chosen = hosts.from_first(moment, lambda: str(_next_step(run, field, step, damaged)))
        candidate = int(chosen)
        try:
            tree, has_digests = read_step(directory, candidate, choose, check)
            problem = ""
        except DamagedError as error:
            problem = str(error)
        problems = [text for text in hosts.gathered(f"{moment} done", problem) if text]
        if not problems:
            _tell(run, candidate, damaged, has_digests)
            return Reading(candidate, tree)
        steps = steps_in(directory)
        # A run that trains removes a checkpoint once it has a newer one, even while it is read.
        is_newest = not any(other > candidate and other not in damaged for other in steps)
        if candidate in steps and (is_newest or step is not None):
            damaged[candidate] = problems[0]
    raise ValueError(f"{run}: {_TRIES} checkpoints went away while they were read; try again")


def _next_step(run: pathlib.Path, field: str, step: int | None, damaged: dict[int, str]) -> int:
    """The step to read next, of those that are not known to be damaged."""
    found = find_step(run, field, step)
    if found not in damaged:
        return found
    good = [other for other in steps_in(directory_of(run, field)) if other not in damaged]
    if step is None and good:
        return good[-1]
    reasons = "; ".join(f"step {bad} {problem}" for bad, problem in sorted(damaged.items()))
    advice = f"; it also holds {_listed(good)}, for --step" if good else ""
    raise ValueError(f"{run} holds damaged checkpoints: {reasons}{advice}")


def _tell(run: pathlib.Path, step: int, damaged: dict[int, str], has_digests: bool) -> None:
    lines = [
        f"Checkpoint {bad} of {run} is damaged: it {problem}." for bad, problem in damaged.items()
    ]
    if damaged:
        lines.append(f"Taking step {step}, which is good. Nothing is deleted.")
    if not has_digests:
        lines.append(f"Checkpoint {step} of {run} has no digests to compare its arrays with.")
    for line in lines:
        tell(line)


def read_step(
    directory: pathlib.Path,
    step: int,
    choose: Callable[[dict], Iterable[str]] = tuple,
    check: Callable[[int, dict], None] = lambda step, stored: None,
) -> tuple[dict, bool]:
    """Reads one checkpoint and compares it with its digests.

    Args:
      directory: from `directory_of`.
      step: of the checkpoint.
      choose: as for `read`.
      check: as for `read`.

    Returns:
      Nested dict of host arrays, and whether there were digests.

    Raises:
      DamagedError: the message says why, as what follows the word 'it'.
    """
    reader = ocp.PyTreeCheckpointHandler()
    state, digests = (_item(directory, step, name) for name in (STATE, DIGESTS))
    try:
        stored = reader.metadata(state).tree
        kept = ocp.JsonCheckpointHandler().restore(digests)["blake2b"] if digests.is_dir() else None
    except Exception as error:  # orbax and tensorstore raise nearly anything
        raise DamagedError(f"cannot be read ({reason(error)})") from error
    if kept is not None and kept.keys() != integrity.by_name(stored).keys():
        raise DamagedError("does not list the arrays that were saved")
    check(step, stored)
    wanted = {name: stored[name] for name in choose(stored)}
    try:
        tree = reader.restore(
            state,
            args=ocp.args.PyTreeRestore(
                item=jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted),
                restore_args=jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
                ),
                partial_restore=True,
            ),
        )
    except Exception as error:
        raise DamagedError(f"cannot be read ({reason(error)})") from error
    arrays = integrity.by_name(tree)
    if kept is not None:
        changed = [name for name, d in integrity.digests(arrays).items() if d != kept[name]]
        if changed:
            raise DamagedError(f"holds other values than were saved, in {_some(changed)}")
    if name := integrity.first_not_finite(arrays):
        raise DamagedError(f"holds values that are not finite, in {name}")
    return tree, kept is not None


def _item(directory: pathlib.Path, step: int, name: str) -> pathlib.Path:
    """Where orbax keeps an item of a checkpoint.

    Its documentation does not say; a test lists the versions of orbax that were tried.
    """
    return directory / str(step) / name


def hush_orbax() -> None:
    """Silences what orbax prints of files that cannot be read or written; this module tells it.

    Orbax logs tracebacks of errors that it raises as well, forgets coroutines after an error, and
    closes the event loop that tensorstore still answers to.
    """
    logging.set_verbosity(logging.FATAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others


def reason(error: Exception) -> str:
    """One line, not too long, of an error of orbax or tensorstore."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _listed(steps: list[int]) -> str:
    return f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"
