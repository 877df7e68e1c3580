"""Scoring a network on labelled images, under several protocols at once."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from hmsa_jax.distributed.sharding import evaluation_batch, replicated
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.input import decoding, pipeline, whole_images
from hmsa_jax.input.canvases import MOST
from hmsa_jax.metrics import confusion
from hmsa_jax.runtime.progress import Progress


def make_evaluation_step(predictor: Predictor, *, classes: int) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, batch) -> (counts, finite)`, once for each image size.

    The batch is shared out over all devices, those of the 'spatial' axis too.

    Args:
      predictor: the network and what to score.
      classes: number of classes.

    Returns:
      A jitted function; the batch holds uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`. It
      returns the pixels by label (row) and prediction (column), `[2, protocols, classes, classes]`
      as `metrics.sum_in_words` has it, and whether all logits of an image are finite, bool `[B]`.
    """

    def counts(outputs: Sequence[ProtocolOutput], batch: dict[str, jax.Array]) -> jax.Array:
        of_each = [
            confusion.confusion_matrices(batch["label"], output.logits.argmax(-1), classes)
            for output in outputs
        ]
        return confusion.sum_in_words(jnp.stack(of_each, 1))

    mesh = predictor.mesh
    return predictor.step(counts, replicated(mesh))


def score_source(
    evaluation_step: Callable,
    params: dict,
    batch_stats: dict,
    source: pipeline.Source,
    mesh: Mesh,
    *,
    images_per_device: int,
    ignore_label: int,
    canvases: int = MOST,
    size_of: Callable[[decoding.Record], whole_images.Size] = decoding.image_size,
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
      canvases: as for `whole_images.eval_batches`.
      size_of: as for `whole_images.eval_batches`.

    Returns:
      int64 `[protocols, classes, classes]`.

    Raises:
      FloatingPointError: the network predicts what is not finite; names the images.
    """
    batches = whole_images.eval_batches(
        source,
        batch_size=images_per_device * mesh.size,
        ignore_label=ignore_label,
        canvases=canvases,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        size_of=size_of,
    )
    total = np.zeros((), np.int64)
    with Progress("evaluate", len(source)) as progress:
        for batch, counts in predictor_lib.summaries(
            evaluation_step, params, batch_stats, batches, source, evaluation_batch(mesh)
        ):
            total = total + confusion.whole(counts)
            progress.advance(len(batch["index"]))
    return total
