"""Locks between processes, which end with the process that holds them, however it ends.

In a bucket, which has no such locks, it takes minutes until others see that a process was killed.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from hmsa_jax.runtime import leases, storage
from hmsa_jax.runtime.console import stderr

_SILENT, _AGAIN = 30, 60  # seconds


@contextlib.contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Holds the lock of a file, which it makes if it is missing; waits while another holds it.

    A wait is told after half a minute, and then each minute.
    """
    with contextlib.ExitStack() as stack:
        if storage.is_remote(path):
            stack.enter_context(leases.held(path.parent, path.name, wait=True))
        else:
            stack.callback(_acquired(path).release)
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
    with contextlib.ExitStack() as stack:
        try:
            if storage.is_remote(directory):
                stack.enter_context(leases.held(directory, name, wait=False))
            else:
                stack.enter_context(filelock.FileLock(directory / name, blocking=False))
        except (filelock.Timeout, leases.InUseError) as error:
            who = error.holder if isinstance(error, leases.InUseError) else "another process"
            raise ValueError(
                f"{directory} is in use by {who}; wait until it ends, or name another directory"
            ) from None
        yield


def _acquired(path: Path) -> filelock.BaseFileLock:
    """The lock of a file of this machine, or of a disk that machines share."""
    lock, seconds = filelock.FileLock(path), _SILENT
    while True:
        try:
            lock.acquire(timeout=seconds)
        except filelock.Timeout:
            seconds = _AGAIN
            stderr.print(f"Waiting for another process, which holds {path}.", soft_wrap=True)
        else:
            return lock
