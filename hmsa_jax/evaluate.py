"""Scoring a trained network under several protocols at once."""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data.builder import SegmentationBuilder
from hmsa_jax import (
    checkpoint,
    checkpoint_reading,
    evaluation_protocol,
    experiment,
    feasibility,
    metrics,
    run_directory,
    splits,
    start,
)
from hmsa_jax.evaluation_protocol import Protocol
from hmsa_jax.files import write_atomically
from hmsa_jax.input import pipeline, whole_images
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.progress import Progress, console, tell
from hmsa_jax.report import results
from hmsa_jax.sharding import replicated
from hmsa_jax.state import TrainState
from hmsa_jax.stop_signal import StopSignal


def make_evaluation_step(
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    protocols: tuple[Protocol, ...],
    *,
    classes: int,
    fusion_resolution: str,
    flip: bool = False,
) -> Callable[[dict, dict, dict[str, jax.Array]], tuple[jax.Array, jax.Array]]:
    """Compiles to `(params, batch_stats, batch) -> (counts, finite)`, once for each image size.

    The batch is shared out over all devices, those of the 'spatial' axis too.

    Args:
      graphdef: the network.
      mesh: from `sharding.make_mesh`.
      protocols: what to score.
      classes: number of classes.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: as for `evaluation_protocol.predict_all`.

    Returns:
      A jitted function; the batch holds uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`. It
      returns the pixels by label (row) and prediction (column), `[2, protocols, classes, classes]`
      as `metrics.sum_in_words` has it, and whether all logits of an image are finite, bool `[B]`.
    """

    def evaluation_step(params, batch_stats, batch):
        logits = evaluation_protocol.predict_all(
            protocols,
            graphdef,
            params,
            batch_stats,
            batch["image"],
            resolution=fusion_resolution,
            flip=flip,
        )
        counts = [metrics.confusion_matrices(batch["label"], x.argmax(-1), classes) for x in logits]
        finite = [evaluation_protocol.is_finite(x) for x in logits]
        return metrics.sum_in_words(jnp.stack(counts, 1)), jnp.stack(finite).all(0)

    images = {"image": _all_devices(mesh), "label": _all_devices(mesh)}
    return jax.jit(
        evaluation_step,
        in_shardings=(replicated(mesh), replicated(mesh), images),
        out_shardings=(replicated(mesh), replicated(mesh)),
    )


def score_source(
    evaluation_step: Callable,
    params: dict,
    batch_stats: dict,
    source: pipeline.Source,
    mesh: Mesh,
    *,
    images_per_device: int,
    ignore_label: int,
    size_multiple: int = 1,
) -> np.ndarray:
    """Runs `evaluation_step` over a source and adds up.

    Args:
      evaluation_step: from `make_evaluation_step`.
      params: of the network.
      batch_stats: of the network.
      source: the labelled images; each counts once.
      mesh: as for `make_evaluation_step`.
      images_per_device: images of a batch on each device.
      ignore_label: label of the pixels that do not count.
      size_multiple: as for `whole_images.eval_batches`.

    Returns:
      int64 `[protocols, classes, classes]`.

    Raises:
      FloatingPointError: the network predicts what is not finite; names the images.
    """
    batches = whole_images.eval_batches(
        source,
        batch_size=images_per_device * mesh.size,
        ignore_label=ignore_label,
        size_multiple=size_multiple,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    total, pending = 0, None

    def counted(records, counts, finite):
        counts, finite = jax.device_get((counts, finite))
        bad = records[~finite[: len(records)]]
        evaluation_protocol.refuse_not_finite([source[int(record)]["id"] for record in bad])
        return metrics.whole(counts)

    with Progress("evaluate", len(source)) as progress:
        for batch in batches:
            global_batch = {
                name: jax.make_array_from_process_local_data(_all_devices(mesh), batch[name])
                for name in ("image", "label")
            }
            results = evaluation_step(params, batch_stats, global_batch)
            if pending is not None:  # fetched one batch late, so that decoding overlaps computing
                total = total + counted(*pending)
            pending = batch["records"], *results
            progress.advance(len(batch["records"]))
        return total + counted(*pending)


def evaluation_step_of(
    config: ml_collections.ConfigDict, parts: experiment.Experiment
) -> Callable[[dict, dict, dict[str, jax.Array]], tuple[jax.Array, jax.Array]]:
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
    """The command: scores the newest good checkpoint of a workdir, or the one that `--step` names.

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
    splits.check_agreement({"data.eval_split": scored}, dataset.legend, step)
    parts = experiment.assemble(config)
    run_directory.claim(workdir, config, dataset.legend)
    with StopSignal() as stop, stop.interrupting("Stopped; no score is written."):
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
        for protocol in evaluation_protocol.parse_all(config.evaluate.protocols)
        if protocol.method not in evaluation_protocol.ATTENTIVE
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
        for protocol in evaluation_protocol.parse_all(config.evaluate.protocols)
        if protocol not in possible
    ]
    if left_out:
        tell(
            f"Of evaluate.protocols these are left out, for model.attention is"
            f" {config.model.attention!r}: {', '.join(left_out)}."
        )


def _all_devices(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(("data", "spatial")))


def _report(config, workdir, classes, confusions, step: int) -> None:
    split = f"{config.data.name}/{config.data.eval_split}"
    path = workdir / "evaluation" / f"{config.data.eval_split}-{step}.json"
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, results.to_json(confusions, classes, split=split, step=step))
    console.print(results.to_table(confusions, classes, f"{split}, step {step}"))
    tell(f"The same as JSON: {path}")
