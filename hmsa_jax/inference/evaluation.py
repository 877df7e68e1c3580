"""Scoring a network on labelled images, under several protocols at once."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from hmsa_jax.distributed import sharding
from hmsa_jax.distributed.sharding import evaluation_batch, replicated
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.input import pipeline, whole_images
from hmsa_jax.input.layout import Layout, Size
from hmsa_jax.metrics import METRICS, confusion
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.metrics.metric import Prediction, Truth
from hmsa_jax.runtime.progress import Progress


class Stopped(Exception):
    """An evaluation has ended before its last image, because it was asked to."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation has counted.

    Attributes:
      confusions: of each image and protocol.
      sums: metric -> name -> its counts, summed over the images, `[protocols, ...]` int64 or
        float64.
    """

    confusions: ImageConfusions
    sums: Mapping[str, Mapping[str, np.ndarray]]


def make_evaluation_step(
    predictor: Predictor, *, classes: int, metrics: Sequence[str] = ()
) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, batch) -> (counts, finite)`, once for each image size.

    The batch is shared out over all devices, those of the 'spatial' axis too.

    Args:
      predictor: the network and what to score.
      classes: number of classes.
      metrics: names in `METRICS`.

    Returns:
      A jitted function; the batch holds uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`, and
      int32 `size` `[B, 2]` where images are padded to the size of a canvas. It returns `confusion`,
      the pixels by label (row) and prediction (column), int32 `[B, protocols, classes, classes]`,
      and for each metric its counts, `[B, protocols, ...]`; and whether all logits of an image are
      finite, bool `[B]`.
    """

    @jax.named_scope("metrics")
    def counts(outputs: Sequence[ProtocolOutput], batch: dict[str, jax.Array]) -> dict[str, Any]:
        truth = Truth(batch["label"], _sizes(batch), classes)
        counters = {name: METRICS.get(name).counter(truth) for name in metrics}

        def of_protocol(prediction: Prediction) -> dict[str, Any]:
            matrices = confusion.confusion_matrices(truth.labels, prediction.classes, classes)
            of_metrics = {name: count(prediction) for name, count in counters.items()}
            return {"confusion": matrices, "metrics": of_metrics}

        # One protocol after the other: together they would take as often the memory.
        predictions = [Prediction(*predictor_lib.most_probable(o.logits)) for o in outputs]
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *predictions)
        of_each = jax.lax.map(of_protocol, stacked)
        return jax.tree.map(lambda counts: jnp.moveaxis(counts, 0, 1), of_each)

    mesh = predictor.mesh
    return predictor.step(counts, replicated(mesh))


Shapes = dict[str, tuple[tuple[int, ...], Any]]
"""Shapes and dtypes of arrays, by name."""


def compile_for(
    evaluation_step: jax.stages.Wrapped,
    params: dict,
    batch_stats: dict,
    layout: Layout,
    mesh: Mesh,
    *,
    images_per_device: int,
    further: Callable[[int, Size, bool], Shapes] = lambda images, canvas, is_shared: {},
) -> Callable:
    """Compiles an evaluation step for all shapes of batches that a source has.

    Args:
      evaluation_step: from `make_evaluation_step`.
      params: of the network, or their shapes and dtypes.
      batch_stats: of the network, likewise.
      layout: of the source.
      mesh: as for `make_evaluation_step`.
      images_per_device: images of a batch on each device.
      further: given the images of a batch, their canvas, and whether they are smaller, the shapes
        of what else the step reads of them.

    Returns:
      A function that does what the step does.
    """
    images = images_per_device * mesh.size
    programs = {}
    for canvas in sorted(set(layout.canvas_of.values())):
        is_shared = canvas in layout.shared
        shapes: Shapes = {
            "image": ((images, *canvas, 3), jnp.uint8),
            "label": ((images, *canvas), jnp.uint8),
        }
        if is_shared:
            shapes["size"] = ((images, 2), jnp.int32)
        shapes |= further(images, canvas, is_shared)
        batch = {
            name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.whole_images(mesh))
            for name, (shape, dtype) in shapes.items()
        }
        programs[canvas] = evaluation_step.lower(params, batch_stats, batch).compile()

    def step(params, batch_stats, batch):
        return programs[batch["image"].shape[1:3]](params, batch_stats, batch)

    return step


def score_source(
    evaluation_step: Callable,
    params: dict,
    batch_stats: dict,
    source: pipeline.Source,
    mesh: Mesh,
    *,
    protocols: Sequence[str],
    classes: Sequence[str],
    images_per_device: int,
    ignore_label: int,
    layout: Layout | None = None,
    stops_after: Callable[[int], bool] = lambda batches: False,
) -> Evaluation:
    """Runs `evaluation_step` over a source.

    Args:
      evaluation_step: from `make_evaluation_step`, or from `compile_for`.
      params: of the network.
      batch_stats: of the network.
      source: the labelled images; each counts once.
      mesh: as for `make_evaluation_step`.
      protocols: their names.
      classes: their names.
      images_per_device: images of a batch on each device.
      ignore_label: label of the pixels that do not count.
      layout: as for `whole_images.eval_batches`.
      stops_after: given how many batches have begun, of which all but one are done, whether no
        other one begins; the same in all processes.

    Returns:
      The counts, with the images in the order of the source.

    Raises:
      Stopped: `stops_after` said so.
      FloatingPointError: the network predicts what is not finite; names the images.
    """
    batches = whole_images.eval_batches(
        source,
        batch_size=images_per_device * mesh.size,
        ignore_label=ignore_label,
        layout=layout,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return score_batches(
        evaluation_step,
        params,
        batch_stats,
        batches,
        evaluation_batch(mesh),
        images=len(source),
        protocols=protocols,
        classes=classes,
        stops_after=stops_after,
    )


def score_batches(
    evaluation_step: Callable,
    params: dict,
    batch_stats: dict,
    batches: Iterable[pipeline.Batch],
    shardings: dict[str, NamedSharding],
    *,
    images: int,
    protocols: Sequence[str],
    classes: Sequence[str],
    stops_after: Callable[[int], bool] = lambda batches: False,
) -> Evaluation:
    """Runs an evaluation step over batches.

    Args:
      evaluation_step: returns counts as that of `make_evaluation_step` does.
      params: of the network.
      batch_stats: of the network.
      batches: as `whole_images.eval_batches` yields them.
      shardings: of the arrays of a batch that the step reads.
      images: how many there are in all batches.
      protocols: names of what is counted.
      classes: their names.
      stops_after: as for `score_source`.

    Returns:
      The counts, with the images in the order of their numbers.

    Raises:
      Stopped: `stops_after` said so.
      FloatingPointError: the network predicts what is not finite; names the images.
    """
    matrices = np.zeros((images, len(protocols), len(classes), len(classes)), np.int32)
    names = [""] * images
    sums: Any = None
    computed = predictor_lib.summaries(evaluation_step, params, batch_stats, batches, shardings)
    with Progress("evaluate", images) as progress:
        for done, (batch, counts) in enumerate(computed, start=1):
            if stops_after(done + 1):
                raise Stopped
            index = batch["index"]
            matrices[index] = counts["confusion"][: len(index)]
            for i, name in zip(index, batch["id"], strict=True):
                names[i] = name
            of_batch = _sums(counts["metrics"], len(index))
            sums = of_batch if sums is None else jax.tree.map(np.add, sums, of_batch)
            progress.advance(len(index))
    confusions = ImageConfusions(tuple(names), tuple(protocols), tuple(classes), matrices)
    return Evaluation(confusions, sums)


def _sizes(batch: Mapping[str, jax.Array]) -> jax.Array:
    """Rows and columns of each image without padding, int32 `[B, 2]`."""
    if "size" in batch:
        return batch["size"]
    images, *size = batch["label"].shape
    return jnp.broadcast_to(jnp.array(size, jnp.int32), (images, 2))


def _sums(counts: Any, images: int) -> Any:
    """The sums over the first images of a batch, int64 or float64; padding follows them."""

    def of_array(array: np.ndarray) -> np.ndarray:
        return array[:images].sum(0, np.float64 if array.dtype.kind == "f" else np.int64)

    return jax.tree.map(of_array, counts)
