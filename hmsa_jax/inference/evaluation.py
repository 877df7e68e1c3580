"""Scoring a network on labelled images, under several protocols at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from hmsa_jax.distributed.sharding import evaluation_batch, put_batch, replicated
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import pipeline, whole_images
from hmsa_jax.metrics import confusion
from hmsa_jax.runtime.progress import Progress


def make_evaluation_step(
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    protocols: tuple[Protocol, ...],
    *,
    classes: int,
    fusion_resolution: str,
    flip: bool = False,
) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, batch) -> (counts, finite)`, once for each image size.

    The batch is shared out over all devices, those of the 'spatial' axis too.

    Args:
      graphdef: the network.
      mesh: from `sharding.make_mesh`.
      protocols: what to score.
      classes: number of classes.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: as for `protocol_lib.predict_all`.

    Returns:
      A jitted function; the batch holds uint8 `image` `[B, H, W, 3]` and `label` `[B, H, W]`. It
      returns the pixels by label (row) and prediction (column), `[2, protocols, classes, classes]`
      as `metrics.sum_in_words` has it, and whether all logits of an image are finite, bool `[B]`.
    """

    def evaluation_step(params, batch_stats, batch):
        logits = protocol_lib.predict_all(
            protocols,
            graphdef,
            params,
            batch_stats,
            batch["image"],
            resolution=fusion_resolution,
            flip=flip,
        )
        counts = [
            confusion.confusion_matrices(batch["label"], x.argmax(-1), classes) for x in logits
        ]
        finite = [protocol_lib.is_finite(x) for x in logits]
        return confusion.sum_in_words(jnp.stack(counts, 1)), jnp.stack(finite).all(0)

    return jax.jit(
        evaluation_step,
        in_shardings=(replicated(mesh), replicated(mesh), evaluation_batch(mesh)),
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
    total = np.zeros((), np.int64)
    pending: tuple[np.ndarray, jax.Array, jax.Array] | None = None

    def counted(records: np.ndarray, counts: jax.Array, finite: jax.Array) -> np.ndarray:
        words, are_finite = jax.device_get((counts, finite))
        bad = records[~are_finite[: len(records)]]
        protocol_lib.refuse_not_finite([source[int(record)]["id"] for record in bad])
        return confusion.whole(words)

    with Progress("evaluate", len(source)) as progress:
        for batch in batches:
            counts, finite = evaluation_step(
                params, batch_stats, put_batch(batch, evaluation_batch(mesh))
            )
            if pending is not None:  # fetched one batch late, so that decoding overlaps computing
                total = total + counted(*pending)
            pending = batch["records"], counts, finite
            progress.advance(len(batch["records"]))
        assert pending is not None  # a source without images is refused
        return total + counted(*pending)
