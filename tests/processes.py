"""Several processes of this machine that run one command together."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from tests import quick_compilation

ROOT = pathlib.Path(__file__).parents[1]
TIMEOUT = 600  # seconds, on a busy machine


class Running:
    """Processes that run one command together."""

    def __init__(self, arguments, environment, processes, devices, second=()):
        where = f"localhost:{free_port()},{processes}"
        count = f"--xla_force_host_platform_device_count={devices}"
        flags = f"{quick_compilation.FLAGS} {count}"
        environment = os.environ | environment | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
        self.processes, self.outputs = [], []
        for index in range(processes):
            with tempfile.NamedTemporaryFile("w", suffix=".log", delete=False) as output:
                flags = [f"--distributed={where},{index}"] if processes > 1 else []
                self.outputs.append(pathlib.Path(output.name))
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, *arguments, *flags, *(second if index else ())],
                        cwd=ROOT,
                        env=environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def finish(self):
        """Waits; returns exit statuses and outputs, whose lines are joined."""
        deadline = time.monotonic() + TIMEOUT
        try:
            statuses = [p.wait(max(deadline - time.monotonic(), 0.1)) for p in self.processes]
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {TIMEOUT} s: {self.read()}")
        finally:
            self.kill()
        return statuses, self.read()

    def read(self):
        return [" ".join(output.read_text().split()) for output in self.outputs]

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def clean_up(self):
        self.kill()
        for output in self.outputs:
            output.unlink()


def free_port():
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
