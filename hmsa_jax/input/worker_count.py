"""How many processes read training batches ahead, where the config leaves it open.

They take the cores that training leaves: on accelerators all but one, on CPUs none. Neither the
order of the batches nor their content depends on the number (see `pipeline.train_batches`).
"""

import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import jax

from hmsa_jax.distributed import hosts
from hmsa_jax.input import pipeline
from hmsa_jax.runtime import machine
from hmsa_jax.runtime.progress import tell

AUTO = "auto"
"""What `data.workers` is where it leaves the number open."""

_MOST = 32  # read two to three times the images of the paper that eight H100 train on
_BATCHES = 4  # that wait in a worker, are on the way or being made, in shared memory
_BYTES_WORKER = 500 * 10**6
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SHARED_MEMORY = Path("/dev/shm")
_LOADS = 8  # crops that are timed, as long as they take less than this many seconds together
_SECONDS = 0.5


def choose(load: Callable[[int], object], *, batch_bytes: int) -> int:
    """Chooses the number for this process and tells why; all processes of a run call it, once.

    Args:
      load: makes the i-th next crop, which is timed for a few.
      batch_bytes: bytes of this process's part of a batch.

    Returns:
      The number of worker processes; 0 for threads of this process.
    """
    mine = machine.core_numbers()
    place = json.dumps([socket.gethostname(), mine])
    places = [json.loads(text) for text in hosts.gathered("cores", place)]
    here = [cores for host, cores in places if host == socket.gethostname()]
    share = share_of(mine, here, machine.core_quota())
    platform = jax.local_devices()[0].platform
    count, why = 0, f"threads of this process, whose devices are the same {share:g} cores"
    if platform != "cpu":
        count, why = fitting(share, batch_bytes, _memory() // len(here), _shared() // len(here))
    seconds = _seconds(load)
    sharing = f", shared with {len(here) - 1} more processes," if len(here) > 1 else ""
    rate = (count or min(share, pipeline.THREADS)) / seconds
    tell(
        f"data.workers={AUTO} is {count}: {why}. This process may use {len(mine)} cores{sharing}"
        f" and reads a crop in {1000 * seconds:.1f} ms of one: up to {rate:.1f} images/s."
    )
    return count


def share_of(mine: Sequence[int], here: Sequence[Sequence[int]], quota: float | None) -> float:
    """How many cores a process has to itself, where others take equal shares of each.

    Args:
      mine: numbers of the cores that it may use.
      here: those of all processes of the run on this host, its own among them.
      quota: cores that the system grants to all of these; None: no limit.

    >>> share_of([0, 1, 2, 3], [[0, 1, 2, 3]] * 2, None), share_of([0, 1], [[0, 1], [2, 3]], 3.0)
    (2.0, 1.5)
    """
    share = sum(1 / sum(core in cores for cores in here) for core in mine)
    return share if quota is None else min(share, quota / len(here))


def fitting(cores: float, batch_bytes: int, memory: int, shared: int) -> tuple[int, str]:
    """The number of workers on a host whose accelerators train.

    Args:
      cores: that this process has to itself.
      batch_bytes: as for `choose`.
      memory: bytes, of which half may be taken.
      shared: bytes that are free for memory that processes share.

    Returns:
      The number, and the reason in words.
    """
    spare = math.floor(cores) - 1  # one dispatches the steps
    limits = {
        "one for each core but one": spare,
        "more would not be needed": _MOST,
        "the memory holds no more": memory // 2 // (_BATCHES * batch_bytes + _BYTES_WORKER),
        f"{_SHARED_MEMORY} holds no more": shared // (_BATCHES * batch_bytes),
    }
    why = min(limits, key=lambda reason: limits[reason])
    if limits[why] >= pipeline.THREADS:
        return limits[why], why
    reason = f"which keep {spare + 1} cores busy" if why.startswith("one") else why
    return 0, f"threads of this process, {reason}"


def _seconds(load: Callable[[int], object]) -> float:
    """Seconds that a core takes for a crop: the mean of a few after the first."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # what other threads do is not counted
    try:
        load(0)
        begin, end = time.thread_time(), time.monotonic() + _SECONDS
        count = 0
        while not count or (count < _LOADS and time.monotonic() < end):
            count += 1
            load(count)
        return max(time.thread_time() - begin, 1e-6) / count
    finally:
        cv2.setNumThreads(threads)


def _memory() -> int:
    """Bytes of this machine, or what the control group may use of them."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(there, int(_MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):  # it has none, or 'max'
        return there


def _shared() -> int:
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else _memory()
