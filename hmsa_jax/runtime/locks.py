"""Locks between processes, which end with the process that holds them, however it ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock


@contextlib.contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which it makes if it is missing; waits while another holds it."""
    with filelock.FileLock(path):
        yield


@contextlib.contextmanager
def occupied(directory: Path, name: str = "lock") -> Iterator[None]:
    """Keeps other processes that call this out of a directory.

    Args:
      directory: which one.
      name: of the lock file in it; those who take different names do not keep each other out.

    Raises:
      ValueError: another process is in the directory.
    """
    try:
        lock = filelock.FileLock(directory / name, blocking=False).acquire()
    except filelock.Timeout:
        raise ValueError(
            f"{directory} is in use by another process; wait until it ends, or name another"
            " directory"
        ) from None
    with lock:
        yield
