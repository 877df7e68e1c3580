"""The lines of a process in a file, each with its time, also where the process prints none."""

import contextlib
import datetime
import pathlib
from collections.abc import Iterator

from hmsa_jax.runtime import files, storage
from hmsa_jax.runtime.files import Lines

_kept: list[Lines] = []


@contextlib.contextmanager
def kept(path: pathlib.Path) -> Iterator[None]:
    """While the body runs, lines go into this file, too, after those that it holds."""
    storage.make_directory(path.parent)
    with files.lines(path) as lines:
        _kept.append(lines)
        try:
            yield
        finally:
            _kept.remove(lines)


def note(text: str) -> None:
    """Writes a text, without time where it has more lines than one."""
    now = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
    for lines in _kept:
        for number, line in enumerate(text.splitlines()):
            lines.append(line if number else f"{now}  {line}")
