"""Files that are whole or absent, or mistaken for others; directories that one process writes."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip-compressed",
}


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path beside `path` to write to; it is renamed to `path` once it is whole.

    After an error it is removed, and what stood at `path` before stays.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` beside `path` and renames it there: a reader never sees half of it."""
    with atomic_path(path) as partial:
        partial.write_text(text)


def mistaken_for_weights(head: bytes) -> str | None:
    """What a file of weights turns out to be, when that is easily told from its first bytes.

    Args:
      head: some 500 bytes, or all that the file has.

    Returns:
      A phrase for an error message, such as `a PNG image`; None for any other binary file.
    """
    if not head:
        return "empty"
    for signature, sort in _SIGNATURES.items():
        if head.startswith(signature):
            return sort
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "text, such as the page that a failed download leaves"
    return None


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out of a directory; the lock ends with the process, however it ends.

    Raises:
      ValueError: another process holds the directory.
    """
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{directory} is in use by another process; wait until it ends, or name another"
                " --workdir"
            ) from None
        yield


@contextlib.contextmanager
def held(path: pathlib.Path) -> Iterator[None]:
    """Holds a lock file, waiting while another does; the lock ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
