"""What runs beside the main thread, and how a process ends meanwhile."""

import subprocess
import sys
import threading

import pytest

from hmsa_jax.runtime.background import Background


def test_a_result_is_waited_for():
    go = threading.Event()
    computing = Background(lambda: go.wait(60) and 7)
    assert not computing.is_done()
    assert not computing.is_done(0.01)
    go.set()
    assert computing.result() == 7
    assert computing.is_done()


def test_an_error_is_raised_where_the_result_is_asked_for():
    failed = Background(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failed.result()


@pytest.mark.parametrize(("status", "ending"), [(0, ""), (3, "sys.exit(3)")])
def test_a_process_ends_at_once_and_as_it_should(status, ending):
    """A compiler that runs in a thread aborts a process that Python takes down."""
    script = f"""
import atexit, sys, threading
from hmsa_jax.runtime import background
atexit.register(print, "after all else")
background.Background(threading.Event().wait)
background.status = {status}
print("the end")
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "the end\nafter all else\n", "")
