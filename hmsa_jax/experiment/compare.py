"""Comparing what two runs reach on the same images, or what the protocols of one run reach."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from hmsa_jax.experiment import run_directory
from hmsa_jax.experiment.evaluation import RESULTS, WAYS
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import comparison, count_file
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.progress import console, tell

_NAMED = 3  # in an error


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which evaluation of a run is meant.

    Attributes:
      run: directory of the run.
      field: the flag that names it.
      step: of the checkpoint; None for the highest that is evaluated.
    """

    run: pathlib.Path
    field: str
    step: int | None = None


def compare(first: Choice, second: Choice | None = None, *, split: str | None = None) -> None:
    """Prints mean IoUs, their differences and the intervals of these.

    Args:
      first: an evaluation.
      second: another one, of the same images; without it the protocols of the first are compared
        with each other.
      split: as `data.eval_split` was, or DATASET/SPLIT; None for that of the first run's newest.

    Raises:
      FileNotFoundError: there is no such evaluation.
      ValueError: a file is damaged, or the two do not have the same images, classes and labels, or
        there is nothing to compare.
    """
    path, origin = newest(first, split)
    confusions = count_file.read(path)
    title = f"{origin.split}, {len(confusions.images)} images"
    other_path = None
    if second is None:
        if len(confusions.protocols) < 2:
            raise ValueError(
                f"{path} has one protocol; name another run with --other, or run `evaluate` with"
                " several evaluate.protocols"
            )
        differences = comparison.of_protocols(confusions)
        names, scores = ["first", "second"], ("first", "second")
    else:
        other_path, _ = newest(second, origin.split)
        others = matched(path, confusions, other_path, count_file.read(other_path))
        differences = comparison.of_runs(confusions, others)
        names, scores = ["protocol"], ("run", "other")
    console.print(comparison.to_table(differences, title, names, scores))
    tell(f"run: {path}")
    if other_path is not None:
        tell(f"other: {other_path}")
        if ways := differing_ways(path, other_path):
            tell(f"They were scored in different ways: {'; '.join(ways)}.", style="yellow")
    tell(
        f"Intervals are of the difference, by {bootstrap.RESAMPLES} resamples of the images; a"
        " difference whose interval leaves out 0 is bold."
    )


def matched(
    path: pathlib.Path,
    confusions: ImageConfusions,
    other_path: pathlib.Path,
    others: ImageConfusions,
) -> ImageConfusions:
    """Makes sure that two evaluations can be compared protocol by protocol.

    Args:
      path: of the first evaluation.
      confusions: its counts.
      other_path: of the second one.
      others: its counts.

    Returns:
      The counts of the second one, with the images in the order of the first.

    Raises:
      ValueError: as in `aligned`, or no protocol is in both.
    """
    others = aligned(path, confusions, other_path, others)
    if not set(confusions.protocols) & set(others.protocols):
        raise ValueError(
            f"{path} and {other_path} have no protocol in common; run `evaluate` with the same"
            " evaluate.protocols"
        )
    return others


def aligned(
    path: pathlib.Path,
    confusions: ImageConfusions,
    other_path: pathlib.Path,
    others: ImageConfusions,
) -> ImageConfusions:
    """Makes sure that two evaluations are of the same images; arguments and result as of `matched`.

    Raises:
      ValueError: classes, images or labels are not the same.
    """
    two = f"{path} and {other_path}"
    if confusions.classes != others.classes:
        differing = _difference(confusions.classes, others.classes) or "their order"
        raise ValueError(f"{two} have different classes ({differing}); name runs with the same")
    again = "; run `evaluate` of both runs on the same images, then compare again"
    if sorted(confusions.images) != sorted(others.images):
        differing = _difference(confusions.images, others.images) or "their number"
        raise ValueError(f"{two} have different images ({differing}){again}")
    order = np.empty(len(others.images), int)
    order[_sorting(confusions.images)] = _sorting(others.images)
    others = dataclasses.replace(others, images=confusions.images, counts=others.counts[order])
    relabelled = (confusions.labelled() != others.labelled()).any(1)
    if relabelled.any():
        images = [confusions.images[i] for i in np.flatnonzero(relabelled)]
        raise ValueError(f"{two} have different labels for {_some(images)}{again}")
    return others


def differing_ways(path: pathlib.Path, other_path: pathlib.Path) -> list[str]:
    """In what ways two evaluations predicted differently, besides network, split and step.

    Args:
      path: of the counts of one.
      other_path: of the other's.

    Returns:
      A line for each fact that both have on record.
    """
    kind, other = count_file.read_kind(path), count_file.read_kind(other_path)
    return [
        f"{name} is {kind[name]} of the run and {other[name]} of the other"
        for name in WAYS
        if name in kind and name in other and kind[name] != other[name]
    ]


def newest(choice: Choice, split: str | None) -> tuple[pathlib.Path, count_file.Origin]:
    """The file of the highest step; of several for the same step the one written last.

    Args:
      choice: which evaluation is meant.
      split: as for `compare`.

    Raises:
      FileNotFoundError: there is no such evaluation, or no such run.
      ValueError: a file is damaged.
    """
    if not run_directory.exists(choice.run):
        raise FileNotFoundError(
            f"{choice.field} is {choice.run}, which holds no config.json; name the directory of a"
            " run"
        )
    directory = choice.run / RESULTS
    names = [name for name in storage.names(directory) if name.endswith(".npz")]
    paths = sorted((directory / name for name in names), key=storage.modified_ns)
    origins = {path: count_file.read_origin(path) for path in reversed(paths)}
    chosen = {
        path: origin.step
        for path, origin in origins.items()
        if split in (None, origin.split, origin.split.partition("/")[2])
        and choice.step in (None, origin.step)
    }
    if not chosen:
        wanted = "" if split is None else f" of {split}"
        wanted += "" if choice.step is None else f" at step {choice.step}"
        there = sorted({f"{origin.split} at step {origin.step}" for origin in origins.values()})
        raise FileNotFoundError(
            f"{choice.field} is {choice.run}, whose {RESULTS}/ has no counts{wanted} (.npz)"
            f"{f', but of {_some(there)}' if there else ''}; run `evaluate` for them"
        )
    path = max(chosen, key=lambda path: chosen[path])  # the first of the highest
    return path, origins[path]


def _sorting(images: Sequence[str]) -> list[int]:
    """The numbers of the images in the order of their ids."""
    return sorted(range(len(images)), key=lambda i: images[i])


def _difference(first: Sequence[str], second: Sequence[str]) -> str:
    """What only one of the two has."""
    return _some(sorted(set(first) ^ set(second)))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
