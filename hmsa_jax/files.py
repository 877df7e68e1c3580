"""Files that are whole or absent, and directories that one process writes."""

import contextlib
import fcntl
import pathlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; it is renamed to `path` once it is whole.

    After an error it is removed, and what stood at `path` before stays.
    """
    # At random: processes on several machines may have one number.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` beside `path` and renames it there: a reader never sees half of it."""
    with atomic_path(path) as partial:
        partial.write_text(text)


@contextlib.contextmanager
def locked(directory: pathlib.Path, name: str = "lock") -> Iterator[None]:
    """Keeps other processes out of a directory; the lock ends with the process, however it ends.

    Args:
      directory: which one.
      name: of the lock file in it; those who take different names do not keep each other out.

    Raises:
      ValueError: another process holds the directory.
    """
    with (directory / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{directory} is in use by another process; wait until it ends, or name another"
                " directory"
            ) from None
        yield
