"""Which scales of a run are worth their cost: all subsets of a list, scored and measured."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import evaluation, feasibility, start
from hmsa_jax.experiment.experiment import Experiment
from hmsa_jax.experiment.image_work import ImageWork
from hmsa_jax.inference import scale_subsets
from hmsa_jax.inference.evaluation import compile_for, score_source
from hmsa_jax.inference.predictor import checked_size
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import decoding, pipeline
from hmsa_jax.input.layout import lay_out
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.performance import interleaved
from hmsa_jax.report import results, scale_costs
from hmsa_jax.report.scale_costs import ScaleCosts
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import console, tell
from hmsa_jax.training.state import TrainState

RESULTS = "scales"


def tune(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    *,
    scales: Sequence[float],
    by: str,
    budget: float | None,
    measures: bool,
    step: int | None = None,
) -> ScaleCosts:
    """Scores every subset of some scales that holds scale 1, and says which are worth their cost.

    The first process prints a table and writes all figures to `scales/` in the run.

    Args:
      config: of the run.
      workdir: of the run.
      scales: from `scale_subsets.scales_of`.
      by: which cost counts, one of `scale_costs.BY`.
      budget: the highest cost of the choice, in times that of scale 1 alone; None for any.
      measures: whether times are measured.
      step: of the checkpoint, from `--step`.

    Raises:
      ValueError: the config cannot be run, does not belong to the workdir, or has no attention or
        fusion that subsets can share; or no checkpoint is good, or no memory holds a batch.
      FileNotFoundError: the workdir holds no such checkpoint.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    label_spec = evaluation.check_run(config, workdir, step, RESULTS)
    check_network(config)
    subsets = scale_subsets.subsets_of(scales)
    builder = start.build_data(config)
    tell_remarks(builder)
    scored = evaluation.open_labelled(config, builder)
    classes = len(label_spec.names)
    feasibility.check_inference(config, scored, "--scales", scales)
    feasibility.check_subsets(config, scored, scales, classes=classes, subsets=len(subsets))
    with evaluation.restored(config, workdir, step, label_spec, scored) as (experiment, state):
        costs, how = _compare(experiment, state, scored, subsets, by, budget, measures)
        _report(config, workdir, costs, how, state)
        return costs


def check_network(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError, naming field and remedy, if subsets cannot share what scales say."""
    attention, resolution = config.model.attention, config.evaluate.fusion_resolution
    if attention != Protocol(scale_subsets.METHOD, ()).fusion.attention:
        raise ValueError(
            f"model.attention is {attention!r}, but any subset of scales needs attention that each"
            " scale has by itself; name a run of model.attention='hierarchical'"
        )
    if resolution != "features":
        raise ValueError(
            f"evaluate.fusion_resolution is {resolution!r}, where the size of a scale's logits"
            " depends on the scales beside it; type --config.evaluate.fusion_resolution=features"
        )


def _compare(
    experiment: Experiment,
    state: TrainState,
    scored: pipeline.Source,
    subsets: tuple[Protocol, ...],
    by: str,
    budget: float | None,
    measures: bool,
) -> tuple[ScaleCosts, dict[str, Any]]:
    settings = experiment.config.evaluate
    layout = lay_out(scored, settings.canvases, checked_size(decoding.image_size, subsets))
    work = ImageWork(experiment, state, layout.commonest)
    scales = scale_subsets.scales_in(subsets)
    tell(f"{len(subsets)} subsets of {len(scales)} scales, each scale once an image.")
    predictor = experiment.predictor(subsets)
    step = compile_for(
        scale_subsets.make_subset_step(predictor, classes=len(experiment.classes)),
        experiment.params,
        experiment.batch_stats,
        layout,
        experiment.mesh,
        images_per_device=settings.images_per_device,
    )
    hosts.wait_for_all("subsets", experiment.config.mesh.wait_minutes)
    counted = score_source(
        step,
        state.eval_params,
        state.eval_batch_stats,
        scored,
        experiment.mesh,
        protocols=[subset.name for subset in subsets],
        classes=experiment.classes,
        images_per_device=settings.images_per_device,
        ignore_label=experiment.ignore_label,
        layout=layout,
    )
    pieces = {piece for subset in subsets for piece in scale_subsets.pieces_of(subset)}
    steps = {piece: scale_subsets.make_piece_step(predictor, piece) for piece in sorted(pieces)}
    costs = ScaleCosts.of(
        counted.confusions,
        subsets,
        flops={piece: work.flops_of(step) for piece, step in steps.items()},
        seconds=work.seconds_of(steps, "scales") if measures else None,
        by=by,
        budget=budget,
    )
    if measures:
        whole = {each.protocol: work.prediction(each.protocol) for each in costs.shown}
        costs = costs.with_measured(work.seconds_of(whole, "lists of scales"))
    return costs, {"machine": work.machine, "image": work.size}


def _report(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    costs: ScaleCosts,
    how: dict[str, Any],
    state: TrainState,
) -> None:
    if jax.process_index():
        return
    facts = evaluation.facts(config, state)
    title = f"{facts['split']}, step {facts['step']}"
    lines = [*scale_costs.sentences(costs), _of_costs(costs, how)]
    # First, so that it is seen also where nothing can be written.
    console.print(scale_costs.to_table(costs, title))
    for line in lines:
        tell(line)
    text = scale_costs.to_json(costs, how, **facts)
    directory = workdir / RESULTS
    storage.make_directory(directory)
    path = results.path_for(directory, f"{config.data.eval_split}-{facts['step']}", text)
    picture, page = path.with_suffix(".svg"), path.with_suffix(".md")
    write_atomically(picture, scale_costs.to_svg(costs))
    write_atomically(page, scale_costs.to_markdown(costs, title, lines, picture.name))
    write_atomically(path, text)
    tell(f"All subsets: {path}; the table: {page.name}; a chart: {picture.name}")


def _of_costs(costs: ScaleCosts, how: Mapping[str, Any]) -> str:
    """What the costs in the table are."""
    rows, columns = how["image"]
    text = (
        f"FLOPs are of the convolutions and products of an image of {rows} x {columns} pixels;"
        " resizing and fusion have none."
    )
    if costs.subsets[0].seconds is None:
        return text
    return (
        f"{text} Times are medians of {interleaved.ROUNDS} predictions of such images in whole, all"
        f" rows in turn, on {how['machine']}; of subsets that are not in the table the JSON has the"
        " sum of what their scales take."
    )
