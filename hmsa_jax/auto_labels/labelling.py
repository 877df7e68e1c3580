"""A teacher labels images: hard labels where it is sure (paper section 4)."""

import functools
from collections.abc import Iterator
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from hmsa_jax.auto_labels.labelled_images import Labelled, LabelledImages, Prediction
from hmsa_jax.auto_labels.unlabelled_images import Selection, id_of
from hmsa_jax.distributed import sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input import whole_images
from hmsa_jax.input.pipeline import Batch, Source
from hmsa_jax.runtime.progress import Progress
from hmsa_jax.training.checkpoint import RunWeights

_WRITERS = 4  # threads


def make_labelling_step(
    graphdef: nnx.GraphDef,
    mesh: Mesh,
    protocol: Protocol,
    *,
    threshold: float,
    fusion_resolution: str,
    flip: bool,
) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, images) -> (classes, probability, kept, finite)`.

    Args:
      graphdef: the network.
      mesh: from `sharding.make_mesh`; its devices share out the batch.
      protocol: how to predict.
      threshold: what the probability of a label that is kept exceeds.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      flip: as for `protocol_lib.predict_all`.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`; the results are `[B, H, W]`, as `Prediction`
      describes them, and whether all logits of an image are finite, bool `[B]`.
    """

    predict = functools.partial(
        protocol_lib.predict_all, (protocol,), graphdef, resolution=fusion_resolution, flip=flip
    )

    def labelling_step(params, batch_stats, images):
        (logits,) = predict(params, batch_stats, images)
        # The largest entry of the softmax, without the others.
        probability = jnp.exp(logits.max(-1) - jax.nn.logsumexp(logits, axis=-1))
        return (
            logits.argmax(-1).astype(jnp.uint8),
            jnp.round(255 * probability).astype(jnp.uint8),
            probability > threshold,
            protocol_lib.is_finite(logits),
        )

    images = sharding.whole_images(mesh)
    return jax.jit(
        labelling_step,
        in_shardings=(sharding.replicated(mesh), sharding.replicated(mesh), images),
        out_shardings=(images,) * 4,
    )


class Teacher:
    """A run's weights on the devices of this process, ready to label."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        mesh: Mesh,
        weights: RunWeights,
        protocol: Protocol,
        *,
        threshold: float,
        flip: bool,
        fusion_resolution: str,
        images_per_device: int,
        size_multiple: int,
    ):
        self.mesh = mesh
        self.batch_size = images_per_device * mesh.size
        self.size_multiple = size_multiple
        self._weights = jax.device_put(
            (weights.params, weights.batch_stats), sharding.replicated(self.mesh)
        )
        self._step = make_labelling_step(
            graphdef,
            mesh,
            protocol,
            threshold=threshold,
            fusion_resolution=fusion_resolution,
            flip=flip,
        )

    def label(self, batch: Batch) -> tuple[Batch, tuple[jax.Array, ...]]:
        """Starts to label a batch of `whole_images.image_batches`."""
        return batch, self._step(
            *self._weights, jax.device_put(batch["image"], sharding.whole_images(self.mesh))
        )


def label(source: Source, mine: range, target: LabelledImages, teacher: Teacher) -> list[str]:
    """Labels this process's images that are not done, until a signal stops it.

    Returns:
      The images that cannot be read, a line each that says why.
    """
    done = target.done()
    # Without any done, no image is read for its id alone.
    left = [i for i in mine if id_of(source, i) not in done] if done else list(mine)
    todo = Selection(source, left)
    unreadable: dict[int, ValueError] = {}
    with (
        Progress("autolabel", len(mine), len(mine) - len(todo)) as progress,
        Preemption() as preemption,
        futures.ThreadPoolExecutor(_WRITERS, "hmsa-write") as pool,
    ):
        if not len(todo):
            return []
        batches = whole_images.image_batches(
            todo,
            batch_size=teacher.batch_size,
            size_multiple=teacher.size_multiple,
            unreadable=unreadable,
        )

        def write(index: int, prediction: Prediction) -> Labelled:
            return target.write(todo[index], prediction, todo.path(index))

        pending = None
        for batch in batches:
            started = teacher.label(batch)
            if pending is not None:  # one batch late, so that writing overlaps computing
                _record(pool.map(write, *_predictions(todo, pending)), target, progress)
            pending = started
            if preemption.requested_of_any():
                break
        if pending is not None:
            _record(pool.map(write, *_predictions(todo, pending)), target, progress)
    return todo.describe(unreadable)


def _record(written: Iterator, target: LabelledImages, progress: Progress) -> None:
    for labelled in written:
        target.record(labelled)
        progress.advance()


def _predictions(
    source: Source, labelled: tuple[Batch, tuple[jax.Array, ...]]
) -> tuple[list[int], list[Prediction]]:
    """The records of a batch and what was predicted of them, without padding.

    Raises:
      FloatingPointError: that is not finite; names the images.
    """
    batch, arrays = labelled
    *fetched, finite = jax.device_get(arrays)
    bad = batch["index"][~finite[: len(batch["index"])]]
    protocol_lib.refuse_not_finite([source[int(index)]["id"] for index in bad])
    cut = [
        Prediction(*(np.ascontiguousarray(array[i, :rows, :columns]) for array in fetched))
        for i, (rows, columns) in enumerate(batch["size"])
    ]
    return [int(index) for index in batch["index"]], cut
