"""The page of a run: gathers what is known of it, and shows its worst images."""

import dataclasses
import pathlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from hmsa_jax.config import schema
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.experiment import (
    compare,
    page_file,
    protocols,
    run_directory,
    run_facts,
    shown_images,
    start,
)
from hmsa_jax.experiment.evaluation import RESULTS
from hmsa_jax.experiment.shown_images import ScoredRun
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.report import count_file, reported_run, run_page
from hmsa_jax.report.page.gallery import Card
from hmsa_jax.report.reported_run import ReportedRun, Scores
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import training_record

NAME = "report.html"
IMAGES = 24
_FLAG, _PROTOCOL = "--workdir", "--protocol"


def report(
    workdirs: Sequence[pathlib.Path],
    out: pathlib.Path,
    *,
    first_config: ConfigDict,
    overrides: Mapping[str, Any],
    images: int = IMAGES,
    protocol: str | None = None,
    split: str | None = None,
    steps: Sequence[int | None] = (),
) -> None:
    """Writes the page of a run, or of several side by side.

    Args:
      workdirs: directories of the runs.
      out: the file to write.
      first_config: what a new run starts from where no field is changed.
      overrides: fields that were typed -> their values, such as where the data set lies.
      images: how many of the worst images are shown, at most.
      protocol: by which images are the worst, as in `evaluate.protocols`; None for the one by which
        the best checkpoint is chosen, or else the one of predictions.
      split: as for `compare`.
      steps: of each run, that of the checkpoint whose evaluation is shown; None for the highest
        that is evaluated, as without any.

    Raises:
      FileNotFoundError: there is no such run, or no such evaluation.
      ValueError: a file is damaged, a protocol was not scored, or several runs were not scored on
        the same images, or have other classes.
    """
    _check_out(out, workdirs)
    names = _names(workdirs)
    wanted = [
        compare.Choice(path, _FLAG, step)
        for path, step in zip(workdirs, steps or [None] * len(workdirs), strict=True)
    ]
    scores = _all_scores(wanted, split)
    runs = [
        _gathered(path, name, first_config, overrides, of_run)
        for path, name, of_run in zip(workdirs, names, scores, strict=True)
    ]
    shown_by = _protocol(runs, protocol)
    cards, remark = _cards(runs, shown_by, images)
    text = run_page.render(
        [run.reported for run in runs],
        defaults=schema.in_words(schema.base_config()),
        protocol=shown_by,
        palette=runs[0].label_spec.palette,
        cards=cards,
        remark=remark,
        foot=page_file.made_by("report"),
    )
    page_file.write(out, text, " and ".join(names))


def _check_out(out: pathlib.Path, workdirs: Sequence[pathlib.Path]) -> None:
    for path in workdirs:
        if not run_directory.exists(path):
            raise FileNotFoundError(
                f"{_FLAG} is {path}, which holds no config.json; name the directory of a run"
            )
    absolute = [str(storage.absolute(path)) for path in workdirs]
    twice = [path for path in absolute if absolute.count(path) > 1]
    if twice:
        raise ValueError(f"{_FLAG} names {twice[0]} twice; name other runs, or leave it out once")
    page_file.check(out, "--out")


def _names(workdirs: Sequence[pathlib.Path]) -> list[str]:
    """What the runs are called: the names of their directories, if these differ."""
    names = [storage.absolute(path).name or str(path) for path in workdirs]
    return names if len(set(names)) == len(names) else [str(path) for path in workdirs]


def _all_scores(wanted: Sequence[compare.Choice], split: str | None) -> list[Scores | None]:
    """The evaluation of each run; those of several are of the same images, in one order."""
    first, *others = wanted
    is_scored = any(name.endswith(".npz") for name in storage.names(first.run / RESULTS))
    if not others and split is None and first.step is None and not is_scored:
        return [None]
    path, scores = _scores(first, split)
    found: list[Scores | None] = [scores]
    for other in others:
        other_path, of_other = _scores(other, scores.origin.split)
        counts = compare.matched(path, scores.confusions, other_path, of_other.confusions)
        found.append(dataclasses.replace(of_other, confusions=counts))
    return found


def _scores(choice: compare.Choice, split: str | None) -> tuple[pathlib.Path, Scores]:
    path, origin = compare.newest(choice, split)
    metrics = reported_run.read_metrics(path.with_suffix(".json"))
    facts = count_file.read_kind(path)
    return path, Scores(origin, count_file.read(path), facts, metrics)


def _gathered(
    path: pathlib.Path,
    name: str,
    first_config: ConfigDict,
    overrides: Mapping[str, Any],
    scores: Scores | None,
) -> ScoredRun:
    config = run_directory.resolve(path, None, overrides)
    label_spec = start.check_run(config, path, needs_data=False)
    record = training_record.read(path)
    rows = reported_run.read_log(path)
    best = None if record is None or record.best is None else record.best
    reported = ReportedRun(
        name,
        run_facts.command(path, config, first_config),
        run_facts.facts(path, config, label_spec, rows, scores),
        schema.in_words(config),
        rows,
        None if best is None else (best.step, best.protocol),
        scores,
    )
    return ScoredRun(reported, path, config, label_spec)


def _protocol(runs: Sequence[ScoredRun], text: str | None) -> str | None:
    """The name of the protocol by which images are shown, which all runs were scored by."""
    scored = [run.reported.scores.confusions for run in runs if run.reported.scores is not None]
    if not scored:
        if text is not None:
            raise ValueError(f"--protocol is {text}, but there is no evaluation; run `evaluate`")
        return None
    common = [
        name for name in scored[0].protocols if all(name in each.protocols for each in scored)
    ]
    if text is not None:
        name = protocol_lib.parse(text, _PROTOCOL).name
        if name not in common:
            raise ValueError(
                f"--protocol is {text}, by which not all was scored; name one of:"
                f" {', '.join(common)}; or run `evaluate` with it"
            )
        return name
    if not common:
        raise ValueError(
            "the runs have no protocol in common; run `evaluate` with the same evaluate.protocols"
        )
    first = runs[0]
    best = first.reported.best
    wanted = [] if best is None else [best[1]]
    wanted.append(protocols.of_prediction(None, first.config).name)
    return next((name for name in wanted if name in common), common[-1])


def _cards(runs: Sequence[ScoredRun], protocol: str | None, count: int) -> tuple[list[Card], str]:
    """The images that are shown, and a sentence on which these are, or why there are none."""
    if protocol is None:
        return [], ""
    if not count:
        return [], "No images are shown, since none were asked for (--images)."
    try:
        cards = shown_images.show(runs, protocol, count)
    except (ValueError, OSError) as error:
        reason = f"No images are shown: {error}".rstrip(".") + "."
        tell(reason, "yellow")
        return [], reason
    scores = runs[0].reported.scores
    assert scores is not None
    of = f"of the {len(scores.confusions.images)} that were scored"
    return cards, f"These are the {len(cards)} images with the lowest mean IoU, {of}."


def after_training(workdir: pathlib.Path, first_config: Callable[[], ConfigDict]) -> None:
    """Writes the page of a run whose training is over, unless it has one that is newer.

    What fails here fails no training: a line says it. Several processes leave the images out, since
    the others would wait for the first one.

    Args:
      workdir: directory of the run.
      first_config: reads what is `first_config` of `report`.
    """
    if jax.process_index():
        return
    out = workdir / NAME
    images = IMAGES if jax.process_count() == 1 else 0
    command = f"`python main.py report {shlex.quote(f'--workdir={workdir}')}`"
    again = f"{command} makes it."
    try:
        if _is_newest(out, workdir):
            tell(f"The page of the run: {out}")
            return
        with (
            Preemption() as preemption,
            preemption.interrupting(f"Stopped; the run has no page. {again}"),
        ):
            report([workdir], out, first_config=first_config(), overrides={}, images=images)
        if not images:
            tell(f"{command} adds images.")
    except KeyboardInterrupt as interrupt:
        tell(str(interrupt), "yellow")
    except Exception as error:  # whatever it is: the training has ended well
        what = " ".join(f"{type(error).__name__}: {error}".split())
        tell(f"The run has no page ({what}). {again}", "yellow")


def _is_newest(page: pathlib.Path, workdir: pathlib.Path) -> bool:
    """Whether a page was made after all evaluations of a run."""
    if not page.exists():
        return False
    results = [workdir / RESULTS / name for name in storage.names(workdir / RESULTS)]
    return all(storage.modified_ns(path) < storage.modified_ns(page) for path in results)
