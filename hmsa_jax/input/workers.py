"""The processes that read training batches ahead: how they begin, and how they end."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

import cv2


def begin(worker_index: int, worker_count: int) -> None:
    """Prepares a worker; what Grain calls in each before it reads anything."""
    del worker_index, worker_count
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # see `interrupts_withheld`
    cv2.setNumThreads(1)  # a thread a core is too many: the workers already fill the cores
    threading.Thread(target=_end_with_parent, name="hmsa-parent", daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def interrupts_withheld() -> Iterator[None]:
    """Processes that are started meanwhile are not interrupted by Ctrl-C; this one is afterwards.

    A terminal sends Ctrl-C to all processes. Training needs its workers to finish its step, and
    they would be interrupted while they import, before `begin`.
    """
    resource_tracker.ensure_running()  # what starts it lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def deaths_explained() -> Iterator[None]:
    """Turns Grain's RuntimeError for a worker that is gone into a ChildProcessError for users."""
    try:
        yield
    except RuntimeError as error:
        if "Worker process was terminated" not in str(error):
            raise
        code = str(error).partition("exit code ")[2].partition(".")[0]
        raise ChildProcessError(
            f"a data worker ended by itself, with exit code {code}; -9 is what the system does when"
            " memory is spent. Set data.workers to fewer, or 0; the same command goes on from the"
            " last checkpoint"
        ) from error
