"""Disks that are full, and directories that may not be used."""

import ctypes
import functools
import resource
import shutil
from collections.abc import Iterator

import numpy as np

from faults.bench import Bench
from faults.kills import labels_trouble
from faults.trial import Trial, run_trouble

_CAPABILITY_VERSION = 0x20080522
_PASS_OVER_MODES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def full(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """No file grows beyond a number of bytes: one line; then the same command goes on."""
    images = bench.pictures / "images" / "train"
    commands = {
        "train": ("--workdir={}",),
        "convert": (f"--from={bench.weights}", "--workdir={}"),
        "autolabel": (
            *(f"--workdir={bench.run}", f"--images={images}", "--out={}"),
            *("--protocol=single", "--nopreviews"),
        ),
    }
    references = {}
    for number in range(count):
        verb = list(commands)[number % len(commands)]
        place = bench.place()
        data = {"data__cache_dir": place / "data"}

        def begin(directory, verb=verb, data=data):
            flags = (flag.format(directory) for flag in commands[verb])
            return bench.arguments(verb, *flags, **data)

        if verb not in references:
            references[verb] = bench.place() / "result"
            ran = bench.call(begin(references[verb]))
            if ran.status:
                raise RuntimeError(f"without a fault it ends with {ran.status}: {ran.output}")
        size = int(10 ** rng.uniform(1, 5))
        out = place / "result"

        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
        first = bench.call(begin(out), limit)
        trouble, output = first.trouble(str(place), "FileTooLarge", "File too large"), first.output
        if not trouble:
            again = bench.call(begin(out))
            output += again.output
            compare = labels_trouble if verb == "autolabel" else run_trouble
            is_done = verb == "convert" and first.status == 0
            trouble = "" if is_done else again.trouble(statuses=(0,))
            trouble = trouble or bench.trouble_of(compare, references[verb], out)
        yield Trial(f"{verb}, files of {size} bytes", trouble, output)


def permission(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """One line that names what may not be read or written."""
    for number in range(count):
        place = bench.place()
        shutil.copytree(bench.pictures, place / "set")
        (place / "data").mkdir(mode=0o777)
        (place / "data").chmod(0o777)
        closed = (place / "set" / "masks" / "train", place / "closed", place / "data")[number % 3]
        closed.mkdir(exist_ok=True)
        closed.chmod(0o555 if number % 2 and number % 3 else 0)
        verb = "check-data" if number % 3 == 0 else "train"
        flags = [] if verb == "check-data" else [f"--workdir={place / 'closed' / 'run'}"]
        changes = {"data__dir": place / "set", "data__cache_dir": place / "data"}
        ran = bench.call(bench.arguments(verb, *flags, **changes), _obey_modes)
        closed.chmod(0o755)
        yield Trial(f"{verb}, {closed.name}", ran.trouble(str(closed), statuses=(1,)), ran.output)


def _obey_modes() -> None:
    """Takes from the superuser the right to pass over the modes of files (capset(2))."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    libc.capget(header, sets)
    sets[0] &= ~_PASS_OVER_MODES
    libc.capset(header, sets)
