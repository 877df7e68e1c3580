"""What a user sees of an error, whatever the command."""

import dataclasses
import errno
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import main
from hmsa_jax.commands import check_data

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def fails(monkeypatch, capsys, tmp_path):
    """Runs a command that raises; returns what is printed and the exit status."""
    monkeypatch.delenv("HMSA_TRACEBACK", raising=False)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))

    def run(error):
        def raise_it(*arguments):
            raise error

        command = dataclasses.replace(check_data.COMMAND, run=raise_it)
        monkeypatch.setattr(check_data, "COMMAND", command)
        with pytest.raises(SystemExit) as status:
            main.main(["check-data"])
        return capsys.readouterr().out, status.value.code

    return run


@pytest.mark.parametrize(
    ("is_done", "typed", "status"),
    [(True, ["--stopped_status=75"], 0), (False, ["--stopped_status=75"], 75), (False, [], 0)],
)
@pytest.mark.parametrize("verb", ["train", "predict", "autolabel"])
def test_the_status_of_what_a_signal_has_stopped(
    verb, is_done, typed, status, monkeypatch, tmp_path
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(f"hmsa_jax.experiment.{verb}.{verb}", lambda *_, **__: is_done)
    flags = [f"--workdir={tmp_path}/run"]
    if verb != "train":
        flags += [f"--images={tmp_path}", f"--out={tmp_path}/out"]
    if status:
        with pytest.raises(SystemExit) as ended:
            main.main([verb, *flags, *typed])
        assert ended.value.code == status
    else:
        main.main([verb, *flags, *typed])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.EACCES, os.strerror(errno.EACCES), "/root/[run]"),
            "PermissionError: /root/[run]: Permission denied; name a place",
        ),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a"),
            "OSError: a: Too many open files; raise",
        ),
        (
            RuntimeError("write() failed: No space left on device; writing /a; at byte 3"),
            "OSError: /a: No space left on device; free",
        ),
        (ValueError("data.dir is wrong"), "ValueError: data.dir is wrong"),
        (ChildProcessError("a data worker ended"), "ChildProcessError: a data worker ended"),
    ],
)
def test_an_error_is_a_line(fails, error, line):
    printed, status = fails(error)
    told, hint = printed.splitlines()
    assert told.startswith(line)
    assert hint == "(HMSA_TRACEBACK=1 shows where.)"
    assert status == 1


def test_memory_that_is_spent_is_a_line(fails):
    with pytest.raises(jax.errors.JaxRuntimeError) as spent:
        jax.jit(lambda: jnp.zeros(2**46, jnp.uint8))()
    told, status = fails(spent.value)
    assert told.startswith("MemoryError: the memory of the devices is spent (RESOURCE_EXHAUSTED:")
    assert "data.batch_size" in told.splitlines()[0]
    assert status == 1


def test_an_interruption_is_a_line(fails):
    assert fails(KeyboardInterrupt()) == ("Interrupted.\n", 130)


def test_a_fault_of_the_program_is_no_line(fails):
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())


IMPORTED = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"


def test_an_interruption_while_it_imports_is_a_line(tmp_path):
    (tmp_path / "jax.py").write_text(IMPORTED)
    done = subprocess.run(
        [sys.executable, "main.py", "check-data"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("typed", [["--help"], ["train", "--help"], ["help", "--markdown"]])
def test_a_reader_who_has_seen_enough_sees_no_traceback(typed):
    command = [sys.executable, ROOT / "main.py", *typed]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
