"""What a config scores, and how: its protocols, its images, its results."""

import pathlib

import jax
import ml_collections
import numpy as np

from data.builder import SegmentationBuilder
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.experiment import experiment, feasibility, splits, start
from hmsa_jax.experiment import run as run_directory
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.evaluation import make_evaluation_step, score_source
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import pipeline
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.report import results
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell
from hmsa_jax.training import checkpoint, checkpoint_reading
from hmsa_jax.training.state import TrainState


def evaluation_step_of(
    config: ml_collections.ConfigDict, parts: experiment.Experiment
) -> jax.stages.Wrapped:
    """The config's evaluation step, as `make_evaluation_step` returns it.

    Raises:
      ValueError: every protocol needs attention of a kind that the network does not have.
    """
    return make_evaluation_step(
        parts.network_for(config.evaluate.images_per_device, whole_rows=True),
        parts.mesh,
        protocols_of(config),
        classes=parts.dataset.num_classes,
        fusion_resolution=config.evaluate.fusion_resolution,
        flip=config.evaluate.flip,
    )


def evaluate_state(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    parts: experiment.Experiment,
    scored: pipeline.Source,
    state: TrainState,
) -> dict[str, np.ndarray]:
    """Scores a state on `open_scored`'s images, prints the table and writes the JSON.

    Returns:
      protocol name -> int64 `[classes, classes]`.
    """
    protocols = protocols_of(config)
    totals = score_source(
        evaluation_step_of(config, parts),
        state.best_params,
        state.batch_stats,
        scored,
        parts.mesh,
        images_per_device=config.evaluate.images_per_device,
        ignore_label=parts.dataset.ignore_label,
        size_multiple=config.evaluate.size_multiple,
    )
    confusions = {p.name: total for p, total in zip(protocols, totals, strict=True)}
    if jax.process_index() == 0:
        _report(config, workdir, parts.dataset.classes, confusions, int(state.step))
    return confusions


def evaluate(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, step: int | None = None
) -> dict[str, np.ndarray]:
    """Scores the newest good checkpoint of a workdir, or the one that `--step` names.

    Raises:
      ValueError: the config cannot be run or does not belong to the workdir, or no checkpoint is
        good.
      FileNotFoundError: the workdir holds no such checkpoint.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    dataset = start.check_run(config, workdir)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    tell_left_out(config)
    builder = start.build_data(config)
    tell_remarks(builder)
    scored = open_scored(config, builder)
    splits.check_agreement({"data.eval_split": scored}, dataset.label_spec, step)
    parts = experiment.assemble(config)
    run_directory.claim(workdir, config, dataset.label_spec)
    with (
        Preemption() as preemption,
        preemption.interrupting("Stopped; no score is written."),
    ):
        state, _ = checkpoint.restore(workdir, "--workdir", parts.initial_state(), step)
        return evaluate_state(config, workdir, parts, scored, state)


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
    split = config.data.eval_split
    scored = splits.open_split(builder, "data.eval_split", split)
    splits.check_labels(scored, "data.eval_split", split)
    scales = {scale for protocol in protocols_of(config) for scale in protocol.scales}
    feasibility.check_inference(config, scored, "evaluate.protocols", scales)
    return scored


def protocols_of(config: ml_collections.ConfigDict) -> tuple[Protocol, ...]:
    """The protocols of the config that its network can do.

    Raises:
      ValueError: every protocol needs attention of a kind that the network does not have.
    """
    protocols = tuple(
        protocol
        for protocol in protocol_lib.parse_all(config.evaluate.protocols)
        if protocol.method not in protocol_lib.ATTENTIVE
        or protocol.method == config.model.attention
    )
    if not protocols:
        raise ValueError(
            f"evaluate.protocols need attention of another kind than model.attention="
            f"{config.model.attention!r}; name 'single', 'average:...' or 'max:...'"
        )
    return protocols


def tell_left_out(config: ml_collections.ConfigDict) -> None:
    """Prints which protocols of the config its network cannot do; ValueError if it can do none."""
    possible = protocols_of(config)
    left_out = [
        protocol.name
        for protocol in protocol_lib.parse_all(config.evaluate.protocols)
        if protocol not in possible
    ]
    if left_out:
        tell(
            f"Of evaluate.protocols these are left out, for model.attention is"
            f" {config.model.attention!r}: {', '.join(left_out)}."
        )


def _report(config, workdir, classes, confusions, step: int) -> None:
    split = f"{config.data.name}/{config.data.eval_split}"
    path = workdir / "evaluation" / f"{config.data.eval_split}-{step}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, results.to_json(confusions, classes, split=split, step=step))
    console.print(results.to_table(confusions, classes, f"{split}, step {step}"))
    tell(f"The same as JSON: {path}")
