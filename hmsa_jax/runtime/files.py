"""Files that are whole or absent, or grow by lines."""

import contextlib
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


def store(path: pathlib.Path, data: bytes) -> None:
    """Writes bytes in the same way, to a path whose folders are made if they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(data)


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
