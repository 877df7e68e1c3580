"""Commands that are stopped at a random moment, and given again."""

import pathlib
import shutil
import signal
import time
from collections.abc import Iterator

import numpy as np

from faults.bench import Bench, contents, finish
from faults.trial import Trial, run_trouble

_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def train(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """The run that was stopped ends with the state and the metrics of one that was not."""

    def begin(workdir):
        return bench.arguments("train", f"--workdir={workdir}")

    yield from _stopped(bench, rng, count, begin, run_trouble)


def convert(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """The weights are those of a conversion that was not stopped."""
    weights = bench.weights

    def begin(workdir):
        return bench.arguments("convert", f"--from={weights}", f"--workdir={workdir}")

    yield from _stopped(bench, rng, count, begin, run_trouble, "holds checkpoints already")


def autolabel(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """All files are those of a command that was not stopped."""
    run = bench.run
    images = bench.place() / "images"
    for number in range(10):
        for path in (bench.pictures / "images").rglob("*.*"):
            (images / str(number)).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, images / str(number))

    def begin(out):
        flags = (f"--workdir={run}", f"--images={images}", f"--out={out}", "--protocol=single")
        return bench.arguments("autolabel", *flags)

    yield from _stopped(bench, rng, count, begin, labels_trouble)


def _stopped(bench, rng, count, begin, compare, done="") -> Iterator[Trial]:
    reference = bench.place() / "result"
    for directory in (bench.place() / "result", reference):  # the first one compiles
        started = time.monotonic()
        ran = finish(bench.start(begin(directory)))
        took = time.monotonic() - started
        if ran.status:
            raise RuntimeError(f"without a fault it ends with {ran.status}: {ran.output}")
    for number in range(count):
        directory = bench.place() / "result"
        stop, moment = _SIGNALS[number % len(_SIGNALS)], rng.uniform(0, took)
        what = f"{stop.name} after {moment:.2f} of {took:.2f} s"
        process = bench.start(begin(directory))
        time.sleep(moment)
        process.send_signal(stop)
        first = finish(process)
        trouble = first.trouble(statuses=(0, 130, -stop))
        output = first.output
        if not trouble:
            again = finish(bench.start(begin(directory)))
            output += again.output
            is_done = done and again.status == 1 and done in again.output
            trouble = "" if is_done else again.trouble(statuses=(0,))
            trouble = trouble or bench.trouble_of(compare, reference, directory)
        yield Trial(what, trouble, output)


def labels_trouble(reference: pathlib.Path, out: pathlib.Path) -> str:
    """How the directory of labels differs from another."""
    ours, theirs = contents(out), contents(reference)
    for each in (ours, theirs):
        for name in list(each):
            if name.startswith(("labelled-", "lock-")):  # in the order in which they were done
                del each[name]
    differing = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    return f"other files: {sorted(differing)[:5]}" if differing else ""
