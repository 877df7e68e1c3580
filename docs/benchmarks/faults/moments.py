"""Trainings that are stopped in what they do, on a disk and in buckets, alone and in pairs."""

import dataclasses
import json
import pathlib
import signal
import time
from collections.abc import Iterator

import numpy as np

from faults.bench import Bench
from faults.processes import ended, joined, outputs
from faults.trial import Trial, run_trouble
from faults.watched import Watched
from hmsa_jax.runtime.paths import any_path
from tests import bucket

STEPS = 12
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_SETTINGS = {
    "steps": STEPS,
    "model__trunk": "short",
    "optimizer__learning_rate": 0.01,
    "data__batch_size": 4,
    "checkpoint__every": 2,
    "checkpoint__keep_best": "single",
    "evaluate__every": 3,
}
# How the lines begin after which the first process does it, and that after which it has done it;
# and how many of the first there are. Of two processes either one builds.
_PHASES = {
    "building": (r"Checking|2 processes with", r"The training has", 1),
    "compiling": (r"Compiling the train step", r"Compiled", 1),
    "saving": (r"train (2|4|8|10)/", "", 4),
    "evaluation": (r"train (3|6|9|12)/", r"Step", 4),
    "the end": (r"Step 12, evaluated", r"All", 1),
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a training is tried, from the pictures on: nothing of it is built or compiled.

    Attributes:
      bench: that starts it.
      where: a directory or a path in a bucket, for the run and the data set that it builds.
      compiled: a directory for its compiled programs.
      processes: that train together.
    """

    bench: Bench
    where: str
    compiled: pathlib.Path
    processes: int

    @property
    def workdir(self) -> str:
        return f"{self.where}/run"

    def start(self) -> list[Watched]:
        arguments = self.bench.arguments(
            "train",
            f"--workdir={self.workdir}",
            **_SETTINGS | {"data__cache_dir": f"{self.where}/data"},
        )
        return [
            Watched(
                self.bench.start(
                    [*arguments, *flags],
                    program=("-m", "tests.short_network"),
                    JAX_COMPILATION_CACHE_DIR=str(self.compiled),
                )
            )
            for flags in joined(self.processes)
        ]


def tries(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """The run that was stopped and went on ends as one that was not, on a disk and in one go."""
    with bucket.serving():
        bench.isolated(lambda: bucket.make("bench"))
        references = {n: _Reference(Place(bench, *_fresh(bench, "disk"), n)) for n in (1, 2)}
        for number in range(count):
            storage = ("disk", "bucket")[number % 2]
            phase = list(_PHASES)[number // 4 % len(_PHASES)]
            place = Place(bench, *_fresh(bench, storage), processes=1 + number // 2 % 2)
            reference = references[place.processes]
            stop = _SIGNALS[number % len(_SIGNALS)]
            yield _stopped(place, reference, rng, phase, stop, storage)


class _Reference:
    """A training that nobody stopped."""

    def __init__(self, place: Place):
        running = place.start()
        ends = [each.finish() for each in running]
        if any(ran.status for ran in ends):
            raise RuntimeError(f"without a fault: {outputs(ends)}")
        self.workdir = place.workdir
        self.seconds = {
            phase: running[0].seconds_between(begin, end)
            for phase, (begin, end, _) in _PHASES.items()
        }


def _fresh(bench: Bench, storage: str) -> tuple[str, pathlib.Path]:
    """A new place of a training, and one of its compiled programs."""
    directory = bench.place()
    where = f"gs://bench/{directory.name}" if storage == "bucket" else str(directory)
    return where, directory / "compiled"


def _stopped(place, reference, rng, phase, stop, storage) -> Trial:
    begin, _, lines = _PHASES[phase]
    line = int(rng.integers(lines))
    wait = rng.uniform(0, reference.seconds[phase][line])
    which = int(rng.integers(place.processes))
    what = f"{stop.name} to process {which} of {place.processes}, {storage}, {phase}"

    running = place.start()
    running[0].wait_for(begin, line)
    time.sleep(wait)
    last = running[0].last_line
    running[which].process.send_signal(stop)
    ends = [each.finish() for each in running]
    trouble = ended(ends, which, stop, phase)
    if not trouble:
        again = [each.finish() for each in place.start()]
        ends += again
        trouble = "; ".join(filter(None, (ran.trouble(statuses=(0,)) for ran in again)))
        trouble = trouble or place.bench.trouble_of(_trouble, reference.workdir, place.workdir)
    return Trial(f"{what}, after {last!r}", trouble, outputs(ends))


def _trouble(*workdirs: str) -> str:
    """How a run differs from another, with the evaluations on its way and its best checkpoint."""
    reference, run = (any_path(workdir, "--workdir") for workdir in workdirs)
    if trouble := run_trouble(reference, run):
        return trouble
    ours, theirs = (json.loads((each / "training.json").read_text()) for each in (run, reference))
    differing = [name for name in ("scores", "best", "end") if ours[name] != theirs[name]]
    return f"other {', '.join(differing)} in training.json" if differing else ""
