"""Files that are whole or absent, or grow by lines."""

import contextlib
import pathlib
import secrets
import tempfile
import time
from collections.abc import Iterator

from hmsa_jax.runtime import storage
from hmsa_jax.runtime.system_errors import named

_SECONDS_BETWEEN_WRITES = 30  # of an object that stands for a file that grows
_REST = 20  # times as long as a write took: writing takes at most so small a part of the time


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; the file is renamed to `path` once it is whole.

    For a path in a bucket that file is of this machine, and is uploaded then. After an error it is
    removed, and `path` stays as it was.
    """
    if storage.is_remote(path):
        with tempfile.TemporaryDirectory(prefix="hmsa-") as scratch:
            partial = pathlib.Path(scratch) / path.name
            yield partial
            storage.upload(partial, path)
        return
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
    if storage.is_remote(path):
        storage.put(path, text.encode())
        return
    with atomic_path(path) as partial:
        partial.write_text(text)


def store(path: pathlib.Path, data: bytes) -> None:
    """Writes bytes in the same way, to a path whose folders are made if they are missing."""
    if storage.is_remote(path):
        storage.put(path, data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def lines(path: pathlib.Path) -> "Lines":
    """What a file grows by, on this machine or in a bucket; it is made if it is missing."""
    return ObjectLines(path) if storage.is_remote(path) else Lines(path)


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

    def flush(self) -> None:
        """A line is in the file when it is appended."""


class ObjectLines(Lines):
    """The same in a bucket: an object cannot grow, so that all lines are written again.

    They are at most every half minute, or less often where that takes long; a process that is
    killed loses the lines since. `flush` writes what is not written yet, as does leaving.

    Args:
      path: of the object.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._data = bytearray(path.read_bytes() if path.exists() else b"")
        self._is_written = True
        self._due = time.monotonic() + _SECONDS_BETWEEN_WRITES

    def __exit__(self, *exception: object) -> None:
        self.flush()

    def append(self, line: str) -> None:
        """Takes a line, of text without its end, and writes it if it is time."""
        self._data += f"{line}\n".encode()
        self._is_written = False
        if time.monotonic() > self._due:
            self.flush()

    def flush(self) -> None:
        """Writes what is not written yet."""
        if self._is_written:
            return
        begin = time.monotonic()
        storage.put(self._path, bytes(self._data))
        self._is_written = True
        now = time.monotonic()
        self._due = now + max(_SECONDS_BETWEEN_WRITES, _REST * (now - begin))
