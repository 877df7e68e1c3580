"""The record of a training, `RUN/training.json`: how long it is, its evaluations, its end.

It is written as a whole after each evaluation, once the checkpoint that it calls the best is
written to the end. What it says beyond the step at which a run goes on is dropped.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.training import checkpoint_reading
from hmsa_jax.training.length import Length

NAME = "training.json"


@dataclasses.dataclass(frozen=True)
class Score:
    """What an evaluation while training has found.

    Attributes:
      step: steps done.
      mean_iou: protocol -> percent; None where it is not known.
      facts: what else it depends on; only scores of equal facts are compared.
      is_reported: whether its file of scores is written, as after the last step.
    """

    step: int
    mean_iou: Mapping[str, float | None]
    facts: Mapping[str, Any]
    is_reported: bool = False


@dataclasses.dataclass(frozen=True)
class Best:
    """The checkpoint that `--step=best` takes.

    Attributes:
      step: of the checkpoint.
      protocol: by which it is the best.
      mean_iou: by that, percent.
    """

    step: int
    protocol: str
    mean_iou: float


@dataclasses.dataclass(frozen=True)
class TrainingRecord:
    """What a training has come to.

    Attributes:
      length: how long it is.
      scores: of its evaluations, in the order of their steps.
      best: the best checkpoint, if one is kept.
      end: why the training ended, in a sentence; '' while it goes on.
      began: when it was started first, in seconds since 1970.
      versions: name -> version of what it was started with; empty where that is not on record.
    """

    length: Length
    scores: tuple[Score, ...] = ()
    best: Best | None = None
    end: str = ""
    began: float = dataclasses.field(default_factory=time.time)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def up_to(self, step: int) -> "TrainingRecord":
        """The record as it was after a step, but for the best checkpoint and the end."""
        scores = tuple(score for score in self.scores if score.step <= step)
        return dataclasses.replace(self, scores=scores, best=None, end="")

    def with_score(self, score: Score) -> "TrainingRecord":
        """The record with another score, which replaces one of its step."""
        others = [other for other in self.scores if other.step != score.step]
        scores = tuple(sorted([*others, score], key=lambda each: each.step))
        return dataclasses.replace(self, scores=scores)

    def best_of(
        self, protocol: str, facts: Mapping[str, Any], steps: Collection[int] | None = None
    ) -> Best | None:
        """The first of the highest mean IoUs by a protocol.

        Args:
          protocol: its name.
          facts: those of the scores that count.
          steps: those that count; None for all.
        """
        best = None
        for score in self.scores:
            mean_iou = score.mean_iou.get(protocol)
            is_meant = score.facts == facts and (steps is None or score.step in steps)
            if is_meant and mean_iou is not None and (best is None or mean_iou > best.mean_iou):
                best = Best(score.step, protocol, mean_iou)
        return best

    def without_progress(self, protocol: str, facts: Mapping[str, Any]) -> int:
        """How many evaluations there were since the one with the best mean IoU by a protocol."""
        best = self.best_of(protocol, facts)
        counted = [s for s in self.scores if s.facts == facts and protocol in s.mean_iou]
        return sum(score.step > best.step for score in counted) if best else 0


def to_text(record: TrainingRecord) -> str:
    """The record as JSON."""
    return json.dumps(dataclasses.asdict(record), indent=2) + "\n"


def from_text(text: str) -> TrainingRecord:
    """The record that `to_text` wrote; ValueError, TypeError or KeyError if it is none."""
    content = json.loads(text)
    return TrainingRecord(
        length=Length(**content["length"]),
        scores=tuple(Score(**score) for score in content["scores"]),
        best=Best(**content["best"]) if content["best"] else None,
        end=content["end"],
        **{name: content[name] for name in ("began", "versions") if name in content},
    )


def read(run: pathlib.Path) -> TrainingRecord | None:
    """The record of a run; None where there is none, as in runs of earlier versions.

    Raises:
      ValueError: it is damaged.
    """
    path = run / NAME
    if not path.exists():
        return None
    try:
        return from_text(path.read_text())
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it from a copy, or remove it: training then"
            " counts its evaluations anew"
        ) from error


def write(run: pathlib.Path, record: TrainingRecord) -> None:
    """Writes the record of a run, whole."""
    write_atomically(run / NAME, to_text(record))


def named_step(run: pathlib.Path, field: str, step: str | int | None) -> int | None:
    """The checkpoint that `--step` means.

    Args:
      run: directory of the run.
      field: how the user names it.
      step: a number, which is returned; 'best': that of the record; 'latest' or None: the newest
        good one.

    Returns:
      Its step; None for the newest good one.

    Raises:
      ValueError: it is none of these, or the record is damaged.
      FileNotFoundError: no best checkpoint is kept, or it is gone.
    """
    if step is None or isinstance(step, int):
        return step
    if step.isdecimal():
        return int(step)
    if step == "latest":
        return None
    if step != "best":
        raise ValueError(f"--step is {step!r}; expected a number, best or latest")
    record = read(run)
    if record is None or record.best is None:
        raise FileNotFoundError(
            f"--step is best, but {run}, which {field} names, has no best checkpoint on record"
            f" ({NAME}); a training keeps one where checkpoint.keep_best and evaluate.every are set"
        )
    steps = checkpoint_reading.steps_in(checkpoint_reading.directory_of(run, field))
    if record.best.step not in steps:
        listed = ", ".join(map(str, steps)) or "none"
        raise FileNotFoundError(
            f"--step is best, which is step {record.best.step} as {run / NAME} says, but that"
            f" checkpoint is gone; there are: {listed}"
        )
    return record.best.step
