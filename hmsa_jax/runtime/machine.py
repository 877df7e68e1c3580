"""What machine this is."""

import os
import pathlib
import platform


def describe() -> str:
    """Its processor and how many cores it has."""
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
