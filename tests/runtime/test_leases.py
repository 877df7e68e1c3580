"""Locks in a bucket: of several processes one has it, and one that is gone does not keep it."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hmsa_jax.runtime import leases, locks, storage
from hmsa_jax.runtime.paths import any_path

# Of other processes: this one would end itself where the machine is busy.
QUICK = {"SECONDS_BETWEEN_WRITES": 0.2, "SECONDS_TO_LIVE": 1.0}


@pytest.fixture
def directory(new_bucket, tmp_path, quick_leases):
    return any_path(f"{new_bucket}/{tmp_path.name}", "--out")


def start(directory, then):
    """A process that takes the lock, says 'in', and goes on."""
    code = (
        "import sys, time; from hmsa_jax.runtime import leases, locks, storage\n"
        "from hmsa_jax.runtime.paths import any_path\n"
        f"vars(leases).update({QUICK})\n"
        f"with locks.occupied(any_path({str(directory)!r}, '--out')):\n"
        "  print('in', flush=True)\n"
        f"  {then}\n"
        "  print('still in', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout.readline() == "in\n"
    return process


def test_a_directory_is_occupied_once_and_then_free(directory):
    refused = pytest.raises(ValueError, match=r"is in use by process \d+ on \S+; wait")
    with locks.occupied(directory), refused, locks.occupied(directory):
        pass
    for _ in range(2):
        begin = time.monotonic()
        with locks.occupied(directory), locks.occupied(directory, "lock-00001"):
            assert time.monotonic() - begin < 1  # nobody has to be watched
    assert len(storage.names(directory)) == 2


def test_one_that_is_gone_is_waited_for_and_one_that_sleeps_is_ended(
    directory, monkeypatch, capsys
):
    monkeypatch.setattr(leases, "SECONDS_UNTIL_STALE", 1)
    killed = start(directory, "time.sleep(60)")
    killed.kill()
    killed.wait()
    begin = time.monotonic()
    with locks.occupied(directory):
        assert time.monotonic() - begin > leases.SECONDS_UNTIL_STALE
    assert f"was left locked by process {killed.pid} on" in " ".join(
        capsys.readouterr().out.split()
    )

    sleeping = start(directory, "time.sleep(60)")
    os.kill(sleeping.pid, signal.SIGSTOP)
    with locks.occupied(directory):
        os.kill(sleeping.pid, signal.SIGCONT)
        output, _ = sleeping.communicate(timeout=30)
        assert sleeping.returncode == 1
        assert f"{directory}/lock.3 kept others out, and" in output
        assert "still in" not in output


def test_one_that_gets_no_answer_ends_before_others_take_over(directory):
    hanging = start(directory, "storage.put = lambda *a: time.sleep(60); time.sleep(60)")
    output, _ = hanging.communicate(timeout=30)
    assert hanging.returncode == 1
    assert "kept others out, and it was not written for 1 s; ended." in output


def test_one_that_was_late_does_not_take_it(directory, monkeypatch):
    """It saw the first lock free, and two others came and went until it made the second."""
    with locks.occupied(directory):
        pass
    late, put_new = leases.Lease(directory, "lock"), storage.put_new

    def after_others(path, data):
        with monkeypatch.context() as patch:
            patch.setattr(storage, "put_new", put_new)
            for _ in range(2):
                with locks.occupied(directory):
                    pass
            third = leases.Lease(directory, "lock")
            assert third.try_to_take()
            held.append(third)
        return put_new(path, data)

    held = []
    monkeypatch.setattr(storage, "put_new", after_others)
    assert not late.try_to_take()
    assert storage.names(directory) == ["lock.4"]
    held[0].leave()


def test_of_many_one_is_in_at_a_time(directory):
    inside, most, done = [], [], []

    def work():
        with locks.waiting_for(directory / "lock"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 4
    assert max(most) == 1
