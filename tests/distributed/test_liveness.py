"""Processes that die, fail, or do not come: the others say so."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import textwrap
import time

import pytest

from hmsa_jax.distributed import liveness
from tests.processes import Running

ROOT = pathlib.Path(__file__).parents[2]
HOST = socket.gethostname()


@pytest.fixture
def scripted(tmp_path):
    """Starts three processes that are joined and then do a script; INDEX is the number of one."""
    started = []

    def start(body):
        script = tmp_path / "script.py"
        script.write_text(
            f"""
import os, signal, sys, time; sys.path.insert(0, {str(ROOT)!r})
from hmsa_jax.distributed import hosts, joining
joining._SECONDS_TO_FAIL = 1
HOW = sys.argv[1].removeprefix("--distributed=")
INDEX = int(HOW.rpartition(",")[2])
with joining.joined(HOW):
{textwrap.indent(body, "    ")}
"""
        )
        started.append(Running([script], dict(os.environ), 3, 1))
        return started[-1]

    yield start
    for running in started:
        running.clean_up()


@pytest.mark.parametrize("dying", [0, 1])
def test_one_dead_process_ends_the_others_at_once(scripted, dying):
    """Whatever they are doing, as waiting for what does not come any more."""
    begin = time.monotonic()
    running = scripted(
        f"if INDEX == {dying}: os.kill(os.getpid(), signal.SIGKILL)\nhosts.wait_for_all('never')"
    )
    statuses, _ = running.finish()
    assert time.monotonic() - begin < 60
    assert statuses[dying] == -signal.SIGKILL
    gone = f"Process {dying} on {HOST} is gone without a word: it was killed"
    if dying == 0:  # then JAX may end them before they can say so
        gone = "process 0 on localhost is gone"
    for index in {0, 1, 2} - {dying}:
        assert statuses[index] != 0
        deadline = time.monotonic() + 30  # a witness may still be starting
        while gone.lower() not in running.read()[index].lower():
            assert time.monotonic() < deadline, running.read()[index]
            time.sleep(0.1)


def test_what_one_process_fails_of_is_told_by_all(scripted):
    statuses, outputs = scripted(
        "if INDEX == 1: raise ValueError('the disk of this host is full')\ntime.sleep(300)"
    ).finish()
    assert statuses == [1, 1, 1]
    told = f"Process 1 on {HOST} has failed, and this one ends, too: ValueError: the disk of this"
    assert told in outputs[0]
    assert told in outputs[2]


def test_who_is_missing_is_named_until_the_wait_ends(scripted):
    statuses, outputs = scripted(
        """
hosts._SILENT, hosts._AGAIN = 0.5, 1
if INDEX == 1:
    time.sleep(4)
    hosts.wait_for_all("lunch")
    time.sleep(300)
hosts.wait_for_all("lunch")
hosts.wait_for_all("dinner", minutes=0.05)
"""
    ).finish()
    waiting = f"Waiting for process 1 ({HOST}) at 'lunch'."
    assert 2 <= outputs[0].count(waiting) <= 4
    assert waiting not in outputs[2]  # one is enough
    assert f"process 1 ({HOST}) did not come to 'dinner' within 0.05 minutes" in outputs[0]
    assert statuses[0] == 1


def test_whoever_leaves_well_ends_nobody(scripted):
    statuses, outputs = scripted("time.sleep(INDEX)").finish()
    assert statuses == [0, 0, 0], outputs
    assert not any("Process" in output for output in outputs)


def test_a_line_of_a_stranger_is_closed():
    lines = liveness.Lines(0, pytest.fail)
    port, _ = json.loads(lines.listen())
    for greeting in (
        b"GET / HTTP/1.1\r\n\r\n",
        b'["guessed", 1, "host"]\n',
        b"[]\n",
        b"5\n",
        b'{"a": 1}\n',
        b"[" * 10**5,
    ):
        with socket.create_connection(("localhost", port), timeout=30) as stranger:
            try:
                stranger.sendall(greeting)
                with contextlib.suppress(OSError):  # closed meanwhile
                    stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(100) == b""
            except ConnectionError:  # closed before all was read
                assert len(greeting) > 2**16
    lines.close()
