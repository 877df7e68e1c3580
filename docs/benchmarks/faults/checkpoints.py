"""Checkpoints that are damaged where they lie."""

import functools
import pathlib
import re
import shutil
from collections.abc import Iterator

import numpy as np

from faults import damage
from faults.bench import STEPS, Bench, contents
from faults.trial import Trial
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity


def read(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """The newest is read as it was saved, or is named and the one before it is read."""
    for number in range(count):
        run = bench.place() / "run"
        shutil.copytree(bench.run, run)
        steps = [STEPS, STEPS - 2] if number % 8 == 7 else [STEPS]
        fault = "; ".join(_spoil(run / "checkpoints" / str(step), rng, run) for step in steps)
        before = contents(run)
        ran = bench.isolated(functools.partial(_read, run, bench.run))
        trouble = ran.trouble(str(run))
        said = " ".join(ran.output.split())
        if not trouble and not re.search(rf"\b(read|[Cc]heckpoint|step) {STEPS}\b", said):
            trouble = "the damaged step is not named"
        if not trouble and len(steps) == 1 and ran.status:
            trouble = "the step before, which is good, was not taken"
        if not trouble and contents(run) != before:
            trouble = "files were changed"
        yield Trial(fault, trouble, ran.output)


def _read(run: pathlib.Path, reference: pathlib.Path) -> None:
    """In a child: reads the newest good checkpoint, and compares it with the one of the copy."""
    checkpoint_reading.hush_orbax()
    try:
        reading = checkpoint.read_weights(run, "--workdir")
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    print(f"read {reading.step}")
    directory = checkpoint_reading.directory_of(reference, "--workdir")
    tree, _ = checkpoint_reading.read_step(directory, reading.step)
    for name in ("params", "batch_stats"):
        ours, theirs = integrity.by_name(getattr(reading, name)), integrity.by_name(tree[name])
        assert ours.keys() == theirs.keys()
        for key, array in ours.items():
            np.testing.assert_array_equal(array, theirs[key], err_msg=key)


def _spoil(step: pathlib.Path, rng: np.random.Generator, run: pathlib.Path) -> str:
    files = sorted(path for path in step.rglob("*") if path.is_file())
    folders = sorted(path for path in step.rglob("*") if path.is_dir())
    way = rng.integers(6)
    if way == 0:
        path = files[rng.integers(len(files))]
        path.unlink()
        return f"{path.relative_to(run)} removed"
    if way == 1:
        path = [step, *folders][rng.integers(1 + len(folders))]
        shutil.rmtree(path)
        path.mkdir()
        return f"{path.relative_to(run)} emptied"
    # Half of the damage is where the bytes are.
    sizes = np.array([path.stat().st_size for path in files], float)
    files, sizes = zip(*[(f, s) for f, s in zip(files, sizes, strict=True) if s], strict=True)
    chances = np.array(sizes) / sum(sizes) if way < 4 else np.full(len(files), 1 / len(files))
    path = files[rng.choice(len(files), p=chances)]
    return f"{path.relative_to(run)} {damage.hurt(path, rng)}"
