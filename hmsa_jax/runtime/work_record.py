"""A directory that is filled item by item: by several processes, and gone on with after a stop."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeVar

from hmsa_jax.runtime import files, storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.locks import occupied

_Item = TypeVar("_Item")


class WorkRecord:
    """What a directory was begun with, and which items are done: a line of JSON each.

    Use as a context manager, in which lines can be added.

    Args:
      directory: made if it is missing.
      command: the verb that fills it: `COMMAND.json` holds the settings.
      done: what an item is then: `DONE-PROCESS.jsonl` holds the lines.
      settings: all that the items depend on, as JSON has it.
      process_index: which process this is: each has lines of its own.
      before: as for `check`.

    Raises:
      ValueError: the directory holds something else, or was begun with other settings.
    """

    def __init__(
        self,
        directory: Path,
        command: str,
        done: str,
        settings: Mapping[str, Any],
        process_index: int = 0,
        *,
        before: Mapping[str, Any] = MappingProxyType({}),
    ):
        check(directory, command, settings, before=before)
        self.directory, self._done = directory, done
        storage.make_directory(directory)
        write_atomically(directory / f"{command}.json", json.dumps(settings, indent=2) + "\n")
        self._process = f"{process_index:05d}"
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Raises ValueError while another process of the same index is at work here."""
        path = self.directory / f"{self._done}-{self._process}.jsonl"
        with self._open as stack:
            stack.enter_context(occupied(self.directory, f"lock-{self._process}"))
            # A line that was cut short goes; the next one would be joined to it.
            write_atomically(path, "".join(_whole_lines(path)))
            self._file = stack.enter_context(files.lines(path))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def lines(self, make: Callable[..., _Item]) -> list[_Item]:
        """What the lines of all processes make, given their keys.

        Raises:
          ValueError: one is damaged.
        """
        found = []
        for name in storage.names(self.directory, f"{self._done}-"):
            path = self.directory / name
            for number, line in enumerate(_whole_lines(path) if path.suffix == ".jsonl" else (), 1):
                try:
                    found.append(make(**json.loads(line)))
                except (ValueError, TypeError) as error:
                    raise ValueError(
                        f"{path} is damaged in line {number} ({error}); remove the line, and what"
                        " it was of is done again"
                    ) from error
        return found

    def add(self, line: Mapping[str, Any]) -> None:
        """Puts on record that an item is done."""
        self._file.append(json.dumps(line))


def check(
    directory: Path,
    command: str,
    settings: Mapping[str, Any],
    others: Iterable[str] = (),
    *,
    before: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Makes sure that a directory is new, or was begun with the same settings; writes nothing.

    Args:
      directory: as for `WorkRecord`.
      command: as for `WorkRecord`.
      settings: as for `WorkRecord`.
      others: lines on what else differs.
      before: settings that are not written by all, and what they are then.

    Raises:
      ValueError: it holds something else, or what was begun in another way; all that differs is
        listed.
    """
    path = directory / f"{command}.json"
    if not path.exists():
        if storage.names(directory):
            raise ValueError(f"{directory} holds other files; name a new directory as --out")
        if storage.is_remote(directory):
            storage.check_place(directory, "--out")
        return
    theirs, ours = {**before, **_read(path)}, {**before, **settings}
    differing = [
        f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    ]
    differing += others
    if differing:
        raise ValueError(
            f"{directory} holds what was made in another way; name another --out, or undo:\n  "
            + "\n  ".join(differing)
        )


def settings_of(directory: Path, command: str) -> dict[str, Any]:
    """What a directory was begun with; empty if it is new.

    Raises:
      ValueError: the file is damaged.
    """
    path = directory / f"{command}.json"
    return _read(path) if path.exists() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); name another --out") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds no settings; name another --out")
    return settings


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
