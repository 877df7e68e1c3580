"""The memory of a process that computes on the CPU: kept for the next step, not given back."""

import ctypes
import importlib.util
import os

# Of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_OF_USERS = ("GLIBC_TUNABLES", "LD_PRELOAD")
_PLUGINS = ("libtpu", "jax_plugins")


def keep_freed() -> bool:
    """Has the C library keep what is freed; call it before JAX looks for devices.

    XLA allocates what a step needs in between anew for every step, hundreds of megabytes. Left as
    it is, glibc maps that memory and unmaps it afterwards, and the system fills every page with
    zeros again: up to a third of the CPU time of a step (docs/results/host_memory.md). From one
    heap that only grows it comes as it was left.

    Returns:
      Whether it does. Not where an accelerator may compute, the C library is another one, or the
      environment tunes it (`GLIBC_TUNABLES`, `LD_PRELOAD`, `MALLOC_...`).
    """
    tuned = any(name in _OF_USERS or name.startswith("MALLOC_") for name in os.environ)
    if tuned or not _is_cpu_only():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    # Other heaps than the first are too small for it, and would map it after all.
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1)])


def _is_cpu_only() -> bool:
    """Whether JAX will find no accelerator: it is told so, or has no plugin for any."""
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return platforms == "cpu"
    return not any(importlib.util.find_spec(name) for name in _PLUGINS)
