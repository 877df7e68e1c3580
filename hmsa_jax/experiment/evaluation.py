"""What a config scores, and how: its protocols, its images, its results."""

import contextlib
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from data.builder import SegmentationBuilder
from data.label_spec import LabelSpec
from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.experiment import feasibility, protocols, run_directory, splits, start
from hmsa_jax.experiment.experiment import Experiment, assemble
from hmsa_jax.inference.evaluation import Evaluation, compile_for, score_source
from hmsa_jax.inference.predictor import checked_size
from hmsa_jax.input import decoding, pipeline
from hmsa_jax.input.layout import lay_out
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.report import count_file, results
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity
from hmsa_jax.training.monitor import Scoring
from hmsa_jax.training.state import TrainState

RESULTS = "evaluation"
_FACTS = ("flip", "fusion_resolution")  # of `evaluate`, that scores depend on
WAYS = (*_FACTS, "average_of_steps")
"""Facts of `facts`, that are neither of the data nor of the network."""


def prepare(experiment: Experiment, scored: pipeline.Source) -> Scoring:
    """Reads the sizes of all images of `open_scored` and compiles what scores them.

    Returns:
      What scores weights that lie on the experiment's mesh.
    """
    config = experiment.config
    settings, ways = config.evaluate, protocols.of_evaluation(config)
    layout = lay_out(scored, settings.canvases, checked_size(decoding.image_size, ways))
    begin = time.monotonic()
    step = compile_for(
        experiment.evaluation_step(),
        experiment.params,
        experiment.batch_stats,
        layout,
        experiment.mesh,
        images_per_device=settings.images_per_device,
    )
    tell(f"Compiled the evaluation in {time.monotonic() - begin:.0f} s.")

    def score(params, batch_stats, stops_after):
        return score_source(
            step,
            params,
            batch_stats,
            scored,
            experiment.mesh,
            protocols=[protocol.name for protocol in ways],
            classes=experiment.classes,
            images_per_device=settings.images_per_device,
            ignore_label=experiment.ignore_label,
            layout=layout,
            stops_after=stops_after,
        )

    return score


def evaluate(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, step: int | None = None
) -> dict[str, np.ndarray]:
    """Scores the newest good checkpoint of a workdir, or the one that `--step` names.

    Returns:
      protocol name -> int64 `[classes, classes]`.

    Raises:
      ValueError: the config cannot be run or does not belong to the workdir, or no checkpoint is
        good.
      FileNotFoundError: the workdir holds no such checkpoint.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    label_spec = check_run(config, workdir, step)
    protocols.tell_left_out(config)
    builder = start.build_data(config)
    tell_remarks(builder)
    scored = open_scored(config, builder)
    with restored(config, workdir, step, label_spec, scored) as (experiment, state):
        score = prepare(experiment, scored)
        hosts.wait_for_all("evaluation", config.mesh.wait_minutes)
        evaluation = score(state.eval_params, state.eval_batch_stats, lambda batches: False)
        report(config, workdir, evaluation, state)
        return dict(evaluation.confusions.totals)


def check_run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    step: int | None,
    results: str = RESULTS,
) -> LabelSpec:
    """Checks what a command that scores a run needs before it looks at the data.

    Args:
      config: of the run.
      workdir: of the run.
      step: of the checkpoint, from `--step`.
      results: name of the directory in the run that results go into.

    Returns:
      The classes.

    Raises:
      ValueError: the config cannot be run or does not belong to the workdir, or no checkpoint is
        good.
      FileNotFoundError: the workdir holds no such checkpoint.
    """
    label_spec = start.check_run(config, workdir)
    check_writable(workdir, results)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    return label_spec


@contextlib.contextmanager
def restored(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    step: int | None,
    label_spec: LabelSpec,
    scored: pipeline.Source,
) -> Iterator[tuple[Experiment, TrainState]]:
    """Yields a run's network on all devices, and its checkpoint; a signal interrupts the body.

    Args:
      config: of the run.
      workdir: of the run.
      step: of the checkpoint, from `--step`.
      label_spec: from `check_run`.
      scored: the images, which all processes have to have alike.

    Raises:
      ValueError: processes are about to do different things, or no checkpoint is good.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    splits.check_agreement({"data.eval_split": scored}, label_spec, step, config.mesh.wait_minutes)
    experiment = assemble(config, label_spec=label_spec, mesh=sharding.make_mesh(-1, 1))
    run_directory.claim(workdir, config, label_spec)
    with Preemption() as preemption, preemption.interrupting("Stopped; no score is written."):
        like = (experiment.params, experiment.batch_stats)
        on_all = sharding.replicated(experiment.mesh)
        yield (
            experiment,
            checkpoint.restore_network(workdir, "--workdir", like, on_all, step),
        )


def open_labelled(
    config: ml_collections.ConfigDict, builder: SegmentationBuilder
) -> pipeline.Source:
    """Opens the evaluation split of a data set that is built.

    Raises:
      ValueError: the split is missing, empty or without labels.
    """
    split = config.data.eval_split
    scored = splits.open_split(builder, "data.eval_split", split)
    splits.check_labels(scored, "data.eval_split", split)
    return scored


def open_scored(config: ml_collections.ConfigDict, builder: SegmentationBuilder) -> pipeline.Source:
    """Opens the evaluation split, and makes sure that it can be scored by the config's protocols.

    Args:
      config: a checked config.
      builder: of its data set, when it is built.

    Returns:
      The images.

    Raises:
      ValueError: the split is missing, empty or without labels; or no memory holds a batch, or a
        scale leaves nothing of an image.
    """
    scored = open_labelled(config, builder)
    scales = {scale for protocol in protocols.of_evaluation(config) for scale in protocol.scales}
    feasibility.check_inference(config, scored, "evaluate.protocols", scales)
    return scored


def check_writable(workdir: pathlib.Path, results: str = RESULTS) -> None:
    """Raises an error if results cannot be written into a run, before they are computed.

    Args:
      workdir: of the run.
      results: name of their directory in it.

    Raises:
      ValueError: they cannot.
    """
    storage.check_place(workdir / results, "--workdir")


def report(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    evaluation: Evaluation,
    state: TrainState,
) -> None:
    """Prints the table of an evaluation and writes JSON and counts; the first process does."""
    if jax.process_index():
        return
    step = int(jax.device_get(state.step))
    split = f"{config.data.name}/{config.data.eval_split}"
    # First, so that it is seen also where nothing can be written.
    console.print(results.to_table(evaluation, f"{split}, step {step}"))
    tell(results.worst_images(evaluation.confusions))
    text = results.to_json(evaluation, **facts(config, state))
    directory = workdir / RESULTS
    storage.make_directory(directory)
    path = results.path_for(directory, f"{config.data.eval_split}-{step}", text)
    write_atomically(path, text)
    counts = path.with_suffix(".npz")
    origin = count_file.Origin(split, step)
    count_file.write(counts, origin, evaluation.confusions, results.kind_of(text) or {})
    tell(f"The same as JSON: {path}; the counts of each image: {counts.name}")


def facts(config: ml_collections.ConfigDict, state: TrainState) -> dict[str, Any]:
    """What scores depend on besides what is scored, as JSON has it."""
    weights = jax.device_get((state.eval_params, state.eval_batch_stats))
    return {
        "split": f"{config.data.name}/{config.data.eval_split}",
        "step": int(jax.device_get(state.step)),
        "weights": integrity.digest_of_tree(weights),
        "average_of_steps": state.eval_params is not state.params,
        **{name: config.evaluate[name] for name in _FACTS},
    }
