"""Two processes that run one command, of which one differs, is killed or is signalled."""

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import numpy as np

from faults.bench import Bench, finish
from faults.trial import Trial, metrics, run_trouble

_DIFFERING = (
    *(("evaluate.images_per_device", 2), ("checkpoint.every", 3), ("log_every", 2), ("seed", 1)),
    *(("data.train_split", "validation"), ("optimizer.momentum", 0.5), ("steps", 9)),
)
_FIRST_STEPS = 300  # seconds, of a busy machine


def tries(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Both end; what differs is named by each; the same commands go on to the same state."""
    reference = None
    for number in range(count):
        workdir = bench.place() / "run"
        if number % 3 == 0:
            name, value = _DIFFERING[rng.integers(len(_DIFFERING))]
            ends = [finish(each) for each in _start(bench, workdir, f"--config.{name}={value}")]
            troubles = [ran.trouble(name, statuses=(1,)) for ran in ends]
            yield Trial(f"{name} differs", "; ".join(filter(None, troubles)), _outputs(ends))
            continue
        if reference is None:
            reference = bench.place() / "run"
            ends = [finish(each) for each in _start(bench, reference)]
            if any(ran.status for ran in ends):
                raise RuntimeError(f"without a fault: {_outputs(ends)}")
        stop = (signal.SIGKILL, signal.SIGTERM)[number % 3 - 1]
        which, after = int(rng.integers(2)), int(rng.integers(1, 7))
        running = _start(bench, workdir)
        deadline = time.monotonic() + _FIRST_STEPS
        while _steps(workdir) < after and time.monotonic() < deadline:
            time.sleep(0.01)
        running[which].send_signal(stop)
        ends = [finish(each) for each in running]
        trouble = _ended(ends, which, stop)
        if not trouble:
            again = [finish(each) for each in _start(bench, workdir)]
            ends += again
            trouble = "; ".join(filter(None, (ran.trouble(statuses=(0,)) for ran in again)))
            trouble = trouble or bench.trouble_of(run_trouble, reference, workdir)
        yield Trial(f"{stop.name} to process {which} after step {after}", trouble, _outputs(ends))


def _start(bench: Bench, workdir, *second: str) -> list:
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    arguments = bench.arguments("train", f"--workdir={workdir}", data__batch_size=4)
    return [
        bench.start([*arguments, *(second if i else ()), f"--distributed=localhost:{port},2,{i}"])
        for i in range(2)
    ]


def _steps(workdir) -> int:
    with contextlib.suppress(ValueError):  # a line that is being written
        return len(metrics(workdir))
    return 0


def _ended(ends: list, which: int, stop: signal.Signals) -> str:
    """What falls short of how both ended after a signal to one of them."""
    for index, ran in enumerate(ends):
        if ran.status is None:
            return f"process {index} hangs"
        # After a kill JAX ends the others, and says so in its own words.
        if stop == signal.SIGTERM and (trouble := ran.trouble(statuses=(0, 130))):
            return f"process {index}: {trouble}"
        if stop == signal.SIGKILL and index != which and ran.status == 0:
            return f"process {index} ends as if all were done"
    return ""


def _outputs(ends: list) -> str:
    return "\n----\n".join(ran.output for ran in ends)
