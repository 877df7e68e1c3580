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
            yield Trial(f"{name} differs", "; ".join(filter(None, troubles)), outputs(ends))
            continue
        if reference is None:
            reference = bench.place() / "run"
            ends = [finish(each) for each in _start(bench, reference)]
            if any(ran.status for ran in ends):
                raise RuntimeError(f"without a fault: {outputs(ends)}")
        stop = (signal.SIGKILL, signal.SIGTERM)[number % 3 - 1]
        which, after = int(rng.integers(2)), int(rng.integers(1, 7))
        running = _start(bench, workdir)
        deadline = time.monotonic() + _FIRST_STEPS
        while _steps(workdir) < after and time.monotonic() < deadline:
            time.sleep(0.01)
        running[which].send_signal(stop)
        ends = [finish(each) for each in running]
        trouble = ended(ends, which, stop)
        if not trouble:
            again = [finish(each) for each in _start(bench, workdir)]
            ends += again
            trouble = "; ".join(filter(None, (ran.trouble(statuses=(0,)) for ran in again)))
            trouble = trouble or bench.trouble_of(run_trouble, reference, workdir)
        yield Trial(f"{stop.name} to process {which} after step {after}", trouble, outputs(ends))


def joined(processes: int) -> list[list[str]]:
    """The flags of each process by which they find each other."""
    if processes == 1:
        return [[]]
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    return [[f"--distributed=localhost:{port},{processes},{i}"] for i in range(processes)]


def _start(bench: Bench, workdir, *second: str) -> list:
    arguments = bench.arguments("train", f"--workdir={workdir}", data__batch_size=4)
    first_flags, second_flags = joined(2)
    return [
        bench.start([*arguments, *first_flags]),
        bench.start([*arguments, *second, *second_flags]),
    ]


def _steps(workdir) -> int:
    with contextlib.suppress(ValueError):  # a line that is being written
        return sum("loss" in row for row in metrics(workdir))
    return 0


def ended(ends: list, which: int, stop: signal.Signals, phase: str = "steps") -> str:
    """What falls short of how all ended after a signal to one of them.

    Args:
      ends: of all processes.
      which: had the signal.
      stop: the signal.
      phase: what was done: in "building" nothing is there yet to be kept, at "the end" all may be
        done before.
    """
    for index, ran in enumerate(ends):
        if ran.status is None:
            return f"process {index} hangs"
        if stop == signal.SIGKILL or phase == "building":
            # Of a killed process JAX tells the others, in its own words.
            if index != which and ran.status == 0 and phase != "the end":
                return f"process {index} ends as if all were done"
        elif trouble := ran.trouble(statuses=(0, 130)):
            return f"process {index}: {trouble}"
    return ""


def outputs(ends: list) -> str:
    """All that they printed."""
    return "\n----\n".join(ran.output for ran in ends)
