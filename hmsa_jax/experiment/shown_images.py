"""The images that a report shows: the worst of an evaluation, predicted again by each run."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from data.label_spec import LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import feasibility, splits, start
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.image_job import ImagePredictor
from hmsa_jax.inference.tiles import Tiling
from hmsa_jax.input import decoding
from hmsa_jax.input.image_files import Selection, id_of
from hmsa_jax.input.source import Source
from hmsa_jax.metrics.confusion import class_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.predictions.image_prediction import ImagePrediction, summarize
from hmsa_jax.report.page import thumbnail
from hmsa_jax.report.page.gallery import Card
from hmsa_jax.report.page.thumbnail import Thumbnail
from hmsa_jax.report.reported_run import ReportedRun, Scores
from hmsa_jax.report.scale_shares import ScaleShares
from hmsa_jax.runtime.progress import Progress
from hmsa_jax.training import checkpoint, integrity

_FACTS = ("flip", "fusion_resolution")  # of `evaluate`, that predictions depend on


@dataclasses.dataclass(frozen=True)
class ScoredRun:
    """A run that has scores, and where it lies.

    Attributes:
      reported: as the page has it; its shares are filled in here.
      directory: of the run.
      config: of the run.
      label_spec: its classes.
    """

    reported: ReportedRun
    directory: pathlib.Path
    config: ConfigDict
    label_spec: LabelSpec


def show(runs: Sequence[ScoredRun], protocol: str, count: int) -> list[Card]:
    """Predicts the images with the lowest mean IoU by the first run.

    Args:
      runs: all with scores of the same images.
      protocol: name of one that all were scored by.
      count: how many images, at most.

    Returns:
      A card for each image, the worst first.

    Raises:
      ValueError: the images or checkpoints that were scored are not there, or are others.
      OSError: the data set is not there, or a file cannot be read.
    """
    first = runs[0]
    assert first.reported.scores is not None
    confusions = first.reported.scores.confusions
    source = _open(first)
    wanted = [score.image for score in confusions.worst_first(protocol)[:count]]
    selection = Selection(source, _numbers(source, wanted, first.directory))
    labels = {name: _label(selection, i, confusions) for i, name in enumerate(wanted)}
    pictures: dict[str, dict[str, Thumbnail]] = {name: {} for name in wanted}
    palette = first.label_spec.palette
    for index, name in enumerate(wanted):
        pictures[name]["image"] = thumbnail.photograph(decoding.decode_image(selection[index]))
        pictures[name]["label"] = thumbnail.classes(labels[name], palette)
    with Progress("report", len(runs) * len(wanted)) as progress:
        for run in runs:
            prefix = "" if len(runs) == 1 else f"{run.reported.name}: "
            for index, prediction in _predictions(run, selection, protocol):
                name = wanted[index]
                pictures[name] |= _pictures(labels[name], prediction, run.label_spec, prefix)
                _add_shares(run, labels[name], prediction)
                progress.advance()
    return [_card(name, confusions, protocol, pictures[name]) for name in wanted]


def _add_shares(run: ScoredRun, label: np.ndarray, prediction: ImagePrediction) -> None:
    """Counts how much each scale says of an image, where there are several and it is known."""
    shares = {
        scale: np.asarray(said.share)
        for scale, said in prediction.scales.items()
        if said.share is not None
    }
    if len(shares) > 1:
        if run.reported.shares is None:
            run.reported.shares = ScaleShares(len(run.label_spec.names), [*shares])
        run.reported.shares.add(label, shares)


def _open(run: ScoredRun) -> Source:
    """The split that was scored."""
    scores = run.reported.scores
    assert scores is not None
    split = scores.origin.split.partition("/")[2]
    return splits.open_split(start.build_data(run.config), "data.eval_split", split)


def _numbers(source: Source, wanted: Sequence[str], run: pathlib.Path) -> list[int]:
    ids = [id_of(source, i) for i in range(len(source))]
    numbers = {name: i for i, name in enumerate(ids)}
    if repeated := [name for name in wanted if ids.count(name) > 1]:
        raise ValueError(f"{run} was scored on several images of the name {repeated[0]}")
    missing = [name for name in wanted if name not in numbers]
    if missing:
        raise ValueError(f"the data set has no image {missing[0]}, which {run} was scored on")
    return [numbers[name] for name in wanted]


def _label(selection: Selection, index: int, confusions: ImageConfusions) -> np.ndarray:
    """The label of an image, uint8 `[H, W]`; ValueError if it is not the one that was scored."""
    record = selection[index]
    label = decoding.decode_label(record)
    classes = len(confusions.classes)
    pixels = np.bincount(label.ravel(), minlength=256)[:classes]
    if (pixels != confusions.labelled()[confusions.images.index(record["id"])]).any():
        raise ValueError(f"the label of {record['id']} is not the one that was scored")
    return label


def _card(
    name: str, confusions: ImageConfusions, protocol: str, pictures: dict[str, Thumbnail]
) -> Card:
    """An image with its scores by a protocol."""
    counts = confusions.of(protocol)[confusions.images.index(name)]
    ious = 100 * class_iou(counts)
    mean = float(np.nanmean(ious)) if not np.isnan(ious).all() else None
    labelled = np.flatnonzero(counts.sum(1))
    total = counts.sum()
    about = f"{100 * np.trace(counts) / total:.1f} % of the pixels are right" if total else ""
    by_class: dict[int, float | None] = {int(i): round(float(ious[i]), 2) for i in labelled}
    return Card(name, pictures, by_class, None if mean is None else round(mean, 2), about)


def _predictions(
    run: ScoredRun, selection: Selection, protocol: str
) -> Iterator[tuple[int, ImagePrediction]]:
    """Yields number and prediction of each image, in any order, as the evaluation predicted it."""
    scores = run.reported.scores
    assert scores is not None
    way = protocol_lib.of_name(protocol)
    facts = {f"evaluate.{name}": scores.facts[name] for name in _FACTS if name in scores.facts}
    config = schema.override(run.config, facts)
    feasibility.check_inference(config, selection, "--protocol", way.scales)
    weights = _weights(run.directory, scores)
    mesh = sharding.make_mesh(-1, 1, jax.local_devices())
    experiment = assemble(config, label_spec=run.label_spec, mesh=mesh)
    network = ImagePredictor(
        experiment.predictor((way,), each_scale=True),
        weights.params,
        weights.batch_stats,
        summarize,
        tiling=Tiling(config.evaluate.tile, math.inf),  # as `evaluate`: images as a whole
        images_per_device=config.evaluate.images_per_device,
        canvases=config.evaluate.canvases,
    )
    unreadable: dict[int, ValueError] = {}
    for numbers, predictions in network.predictions(selection, unreadable):
        yield from zip(numbers, predictions, strict=True)
    if unreadable:
        raise ValueError("; ".join(selection.describe(unreadable)))


def _weights(run: pathlib.Path, scores: Scores) -> checkpoint.RunWeights:
    """The weights that were scored; ValueError if a checkpoint of that step holds others."""
    weights = checkpoint.read_weights(run, "--workdir", scores.origin.step)
    digest = integrity.digest_of_tree((weights.params, weights.batch_stats))
    if scores.facts.get("weights", digest) != digest:
        raise ValueError(
            f"the checkpoint of step {scores.origin.step} in {run} holds other weights than were"
            " scored; run `evaluate` again"
        )
    return weights


def _pictures(
    label: np.ndarray, prediction: ImagePrediction, label_spec: LabelSpec, prefix: str
) -> dict[str, Thumbnail]:
    """What a run says of an image, by caption."""
    palette, classes = label_spec.palette, np.asarray(prediction.classes)
    pictures = {
        f"{prefix}prediction": thumbnail.classes(classes, palette),
        f"{prefix}errors": thumbnail.errors(label, classes, len(label_spec.names)),
    }
    for scale, said in sorted(prediction.scales.items()):
        if len(prediction.scales) > 1:
            of_scale = thumbnail.classes(np.asarray(said.classes), palette)
            pictures[f"{prefix}prediction of scale {scale:g}"] = of_scale
            if said.share is not None:
                share = thumbnail.share(np.asarray(said.share))
                pictures[f"{prefix}share of scale {scale:g} (attention)"] = share
    return pictures
