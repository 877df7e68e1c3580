"""The records of scenes, painted by as many processes as there are cores."""

import contextlib
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.pixels import encode_image, encode_label
from data.street_scenes import coarse_label, painter
from hmsa_jax.runtime import machine

Record = dict[str, Any]

_ROOT = Path(__file__).parents[2]
_LEAST = 32  # scenes a process, which are painted in ten times the seconds that its start takes
_LABELLING = 1  # tells the randomness of a coarse label from that of its scene


def fine(seed: int, split: str, index: int) -> Record:
    """The record of a scene with all that it shows as its label; arguments as for `paint`."""
    image, label = painter.paint(seed, split, index)
    return _record(image, label, f"{split}-{index:04d}")


def coarse(seed: int, split: str, index: int) -> Record:
    """The record of a scene with a coarse label; arguments as for `paint`."""
    image, shown = painter.paint(seed, split, index)
    rng = np.random.default_rng((seed, painter.SPLITS.index(split), index, _LABELLING))
    return _record(image, coarse_label.coarse_label(shown, rng), f"coarse-{split}-{index:04d}")


def _record(image: np.ndarray, label: np.ndarray, name: str) -> Record:
    return {"image": encode_image(image), "label": encode_label(label), "id": name}


KINDS = {"fine": fine, "coarse": coarse}


def painted(kind: str, seed: int, split: str, count: int) -> Iterator[Record]:
    """The first records of a split, in order.

    Painting keeps Python itself busy, so that threads would wait for one another; and the script
    that asks for the records is not run again, as `multiprocessing` would.

    Args:
      kind: key of `KINDS`.
      seed: of the data set.
      split: of it.
      count: how many.

    Raises:
      ChildProcessError: a process that paints ended by itself.
    """
    processes = min(machine.cores(), count // _LEAST)
    if processes < 2:
        for index in range(count):
            yield KINDS[kind](seed, split, index)
        return
    with contextlib.ExitStack() as stack:
        others = [
            stack.enter_context(_other(kind, seed, split, first, count, processes))
            for first in range(processes)
        ]
        for index in range(count):
            yield _received(others[index % processes])


@contextlib.contextmanager
def _other(kind: str, *numbers: int | str) -> Iterator[subprocess.Popen]:
    """A process that paints every so-manieth record; it ends with the context, and if we die."""
    command = [sys.executable, "-m", "data.street_scenes.records", kind, *map(str, numbers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def _received(process: subprocess.Popen) -> Record:
    assert process.stdout is not None
    try:
        return pickle.load(process.stdout)
    except (EOFError, pickle.UnpicklingError) as error:
        raise ChildProcessError(
            f"a process that paints scenes ended by itself, with exit code {process.wait()}; -9 is"
            " what the system does when memory is spent. The same command begins anew"
        ) from error


def _main(kind: str, seed: str, split: str, first: str, count: str, step: str) -> None:
    """Writes every `step`-th record, from the first on."""
    for name in ("SIGINT", "SIGPIPE"):  # ends without a word, as whoever reads does
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    for index in range(int(first), int(count), int(step)):
        pickle.dump(KINDS[kind](int(seed), split, index), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
