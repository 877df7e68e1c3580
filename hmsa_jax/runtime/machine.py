"""What machine this is, and how much of it this process may use."""

import os
import pathlib
import platform

_QUOTA = pathlib.Path("/sys/fs/cgroup/cpu.max")


def describe() -> str:
    """Its processor and how many cores it has."""
    return f"{_processor()}, {os.cpu_count()} cores"


def cores() -> int:
    """How many cores this process can keep busy, at least 1."""
    quota = core_quota()
    return len(core_numbers()) if quota is None else max(1, min(len(core_numbers()), round(quota)))


def core_numbers() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_quota() -> float | None:
    """Cores that the control group of this process may use at most; None: no limit."""
    try:
        limit, period = _QUOTA.read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # it has none, or 'max'
        return None


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
