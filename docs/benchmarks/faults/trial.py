"""One try of a fault, and how two runs are compared."""

import dataclasses
import json
import pathlib
import re

import numpy as np

from hmsa_jax.training import checkpoint_reading, integrity

_SPEED = re.compile(r"time/|images_per_second|flops_per_second|mfu|memory_")


@dataclasses.dataclass(frozen=True)
class Trial:
    """What was tried and what came of it.

    Attributes:
      fault: in words.
      trouble: what falls short; '' if the fault was survived.
      output: what was printed.
    """

    fault: str
    trouble: str
    output: str = ""


def run_trouble(reference: pathlib.Path, run: pathlib.Path) -> str:
    """How the last checkpoint, the metrics and the scores of a run differ from those of another."""
    ours, theirs = (arrays(each) for each in (run, reference))
    if ours.keys() != theirs.keys():
        return "other arrays"
    differing = [name for name in ours if not np.array_equal(ours[name], theirs[name])]
    if differing:
        return f"other values in {len(differing)} arrays, as in {differing[0]}"
    if metrics(run) != metrics(reference):
        return "other metrics"
    if _scores(run) != _scores(reference):
        return "other scores"
    return ""


def arrays(run: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of the newest checkpoint, by name."""
    directory = checkpoint_reading.directory_of(run, "--workdir")
    steps = checkpoint_reading.steps_in(directory)
    tree, _ = checkpoint_reading.read_step(directory, steps[-1])
    return integrity.by_name(tree)


def metrics(run: pathlib.Path) -> list[dict]:
    """What metrics.jsonl holds, without the figures of speed, which no state decides."""
    path = run / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{key: value for key, value in row.items() if not _SPEED.match(key)} for row in rows]


def _scores(run: pathlib.Path) -> dict[str, dict]:
    return {
        path.name: json.loads(path.read_text())["protocols"]
        for path in sorted((run / "evaluation").glob("*.json"))
    }
