"""What is freed is kept: the system fills the pages of a step with zeros once."""

import os
import pathlib
import subprocess
import sys

import pytest

from hmsa_jax.runtime import host_memory

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = """
import resource, threading
import numpy as np
from hmsa_jax.runtime import host_memory
kept = host_memory.keep_freed()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    first, second = np.ones(2**23), np.ones(2**24)  # 64 and 128 MiB
def steps():  # as XLA, in another thread
    step()
    begin = pages()
    for _ in range(4):
        step()
    print(kept, pages() - begin)
thread = threading.Thread(target=steps)
thread.start(); thread.join()
"""


def pages_of_steps(**environment):
    """Whether memory is kept, and how many pages four steps are given that had one before."""
    inherited = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, pages = process.stdout.split()
    return kept == "True", int(pages)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_steps_after_the_first_are_given_no_pages():
    kept, pages = pages_of_steps()
    assert kept
    assert pages < 500
    kept, pages = pages_of_steps(MALLOC_ARENA_MAX="8")  # whoever tunes it himself is left alone
    assert not kept
    assert pages > 4 * 500


@pytest.mark.parametrize("plugin", ["libtpu", "jax_plugins"])
def test_hosts_of_accelerators_are_left_alone(plugin, monkeypatch):
    for name in list(os.environ):
        if "MALLOC" in name or name == "JAX_PLATFORMS":
            monkeypatch.delenv(name)
    found = {plugin}
    monkeypatch.setattr(host_memory.importlib.util, "find_spec", found.__contains__)
    assert not host_memory._is_cpu_only()
    found.clear()
    assert host_memory._is_cpu_only()
    found.add(plugin)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert host_memory._is_cpu_only()
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    assert not host_memory.keep_freed()
