"""Files that are whole or absent, or grow by lines, and directories that one process writes."""

import contextlib
import fcntl
import pathlib
import secrets
from collections.abc import Iterator

from hmsa_jax.runtime.system_errors import named


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; the file is renamed to `path` once it is whole.

    After an error that file is removed, and `path` stays as it was.
    """
    # Random: processes on two machines may have the same number. Short: `path` may just fit.
    partial = path.with_name(f".{secrets.token_hex(4)}.partial")
    try:
        with named(path, instead=partial):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` beside `path` and renames it there: a reader never sees half of it."""
    with atomic_path(path) as partial:
        partial.write_text(text)


class Lines:
    """A file that grows by whole lines: a line that cannot be written leaves nothing behind.

    Use as a context manager.

    Args:
      path: of the file, which is made if it is missing.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, line: str) -> None:
        """Writes a line, of text without its end; raises OSError with the name of the file."""
        left = memoryview(f"{line}\n".encode())
        end = self._file.tell()
        try:
            with named(self._path):
                while left:
                    left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise


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
