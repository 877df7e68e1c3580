"""What the attention of a run is worth: controls in its place, and what each scale gains where."""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import ml_collections

from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.experiment import evaluation, feasibility, protocols, start
from hmsa_jax.experiment.experiment import Experiment
from hmsa_jax.inference import controls
from hmsa_jax.inference.evaluation import compile_for, score_batches
from hmsa_jax.inference.predictor import checked_size
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import decoding, next_images, pipeline
from hmsa_jax.input.layout import lay_out
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.report import attention_scores, results
from hmsa_jax.report.attention_scores import AttentionScores
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell
from hmsa_jax.training.state import TrainState

RESULTS = "attention"


def measure(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    *,
    protocol: str | None = None,
    step: int | None = None,
) -> AttentionScores:
    """Scores a run's checkpoint by a hierarchical protocol and by its controls.

    The first process prints tables and writes the figures to `attention/` in the run.

    Args:
      config: of the run.
      workdir: of the run.
      protocol: as in `evaluate.protocols`; None: over the scales 0.5, 1 and 2.
      step: of the checkpoint, from `--step`.

    Raises:
      ValueError: the config cannot be run, does not belong to the workdir or has no such attention,
        or no checkpoint is good.
      FileNotFoundError: the workdir holds no such checkpoint.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    label_spec = evaluation.check_run(config, workdir, step, RESULTS)
    way = protocol_of(protocol, config)
    builder = start.build_data(config)
    tell_remarks(builder)
    scored = evaluation.open_labelled(config, builder)
    feasibility.check_inference(config, scored, "--protocol", way.scales)
    with evaluation.restored(config, workdir, step, label_spec, scored) as (experiment, state):
        scores = _score(experiment, state, scored, way)
        _report(config, workdir, scores, state)
        return scores


def protocol_of(text: str | None, config: ml_collections.ConfigDict) -> Protocol:
    """The protocol that is asked for, or the paper's; its attention can be replaced.

    Raises:
      ValueError: the network cannot do it, or it has no attention of each scale by itself.
    """
    way = protocols.of_prediction(text, config)
    needs = way.fusion.attention
    if needs is None or ATTENTIONS.get(needs).weighs_together:
        asked = f"--protocol is {text}" if text else f"model.attention is {needs or 'none'!r}"
        raise ValueError(
            f"{asked}; expected attention that each scale has by itself, which controls replace:"
            " name a run of model.attention='hierarchical', and a protocol of that method"
        )
    if way.is_selective:
        raise ValueError(
            f"--protocol is {way.text}, but controls compare what all scales say of whole images;"
            f" name {dataclasses.replace(way, percent=100).text}"
        )
    return way


def _score(
    experiment: Experiment, state: TrainState, scored: pipeline.Source, way: Protocol
) -> AttentionScores:
    settings, mesh, classes = experiment.config.evaluate, experiment.mesh, experiment.classes
    ways = controls.protocols_of(way)
    layout = lay_out(scored, settings.canvases, checked_size(decoding.image_size, ways))
    # Beside each image a device looks at the next one.
    plain = experiment.predictor(ways, images=2 * settings.images_per_device, each_scale=True)
    following = next_images.next_on_canvas(layout)
    if alone := sum(number == other for number, other in following.items()):
        tell(
            f"{alone} of {len(scored)} images have no other on their canvas: for those the next"
            " image's attention is their own.",
            style="yellow",
        )
    batches = controls.pair_batches(
        scored,
        layout,
        batch_size=settings.images_per_device * mesh.size,
        classes=len(classes),
        ignore_label=experiment.ignore_label,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    step = compile_for(
        controls.make_controls_step(controls.PairPredictor(**vars(plain)), classes=len(classes)),
        experiment.params,
        experiment.batch_stats,
        layout,
        mesh,
        images_per_device=settings.images_per_device,
        further=functools.partial(controls.further_shapes, classes=len(classes)),
    )
    hosts.wait_for_all("attention", experiment.config.mesh.wait_minutes)
    counted = score_batches(
        step,
        state.eval_params,
        state.eval_batch_stats,
        batches,
        dict.fromkeys(controls.BATCH, sharding.whole_images(mesh)),
        images=len(scored),
        protocols=controls.names_of(way),
        classes=classes,
    )
    return AttentionScores.of(way, counted)


def _report(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    scores: AttentionScores,
    state: TrainState,
) -> None:
    if jax.process_index():
        return
    facts: dict[str, Any] = evaluation.facts(config, state)
    # First, so that it is seen also where nothing can be written.
    title = f"{facts['split']}, step {facts['step']}"
    console.print(attention_scores.to_table(scores, title))
    console.print(attention_scores.to_gain_table(scores))
    text = attention_scores.to_json(scores, **facts)
    directory = workdir / RESULTS
    storage.make_directory(directory)
    path = results.path_for(directory, f"{config.data.eval_split}-{facts['step']}", text)
    write_atomically(path, text)
    tell(f"All figures, also by class and size: {path}")
