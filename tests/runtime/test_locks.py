import subprocess
import sys
import threading
import time

import pytest

from hmsa_jax.runtime import locks


def test_a_directory_is_occupied_once(tmp_path):
    refused = pytest.raises(ValueError, match=f"{tmp_path} is in use by another process")
    with locks.occupied(tmp_path), refused, locks.occupied(tmp_path):
        pass
    with locks.occupied(tmp_path):  # free again
        pass


def test_a_directory_is_free_when_the_process_in_it_is_killed(tmp_path):
    code = (
        "import pathlib, sys, time; from hmsa_jax.runtime import locks\n"
        "with locks.occupied(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(ValueError, match="in use"), locks.occupied(tmp_path):
            pass
        other.kill()
        other.wait()
    with locks.occupied(tmp_path):
        pass


def test_one_waits_for_another_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "_SILENT", 0.05)
    order = []

    def second():
        with locks.waiting_for(tmp_path / "lock"):
            order.append("second")

    with locks.waiting_for(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    waiting = f"Waiting for another process, which holds {tmp_path / 'lock'}."
    assert capsys.readouterr().err == f"{waiting}\n"
    with locks.waiting_for(tmp_path / "lock"):  # free again
        pass
