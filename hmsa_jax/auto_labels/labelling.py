"""A teacher labels images: hard labels where it is sure (paper section 4)."""

from collections.abc import Iterator
from concurrent import futures

import jax

from hmsa_jax.auto_labels.labelled_images import Labelled, LabelledImages, Prediction
from hmsa_jax.auto_labels.unlabelled_images import Selection, id_of
from hmsa_jax.distributed import sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.input import whole_images
from hmsa_jax.input.pipeline import Source
from hmsa_jax.runtime.progress import Progress
from hmsa_jax.training.checkpoint import RunWeights

_WRITERS = 4  # threads


def make_labelling_step(predictor: Predictor, *, threshold: float) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, {'image': ...}) -> (prediction, finite)`.

    Args:
      predictor: the network and its protocol.
      threshold: what the probability of a label that is kept exceeds.

    Returns:
      A jitted function of uint8 images `[B, H, W, 3]`; the prediction is what a `Prediction`
      holds, `[B, H, W]` each.
    """

    def labels(outputs, batch):
        classes, probability = predictor_lib.most_probable(outputs[0].logits)
        return classes, predictor_lib.to_byte(probability), probability > threshold

    images = sharding.whole_images(predictor.mesh)
    return predictor.step(labels, {"image": images}, images)


class Teacher:
    """A run's weights on the devices of this process, ready to label.

    Args:
      predictor: the network and its protocol.
      weights: of the network.
      threshold: as for `make_labelling_step`.
      images_per_device: images of a batch on each device.
      size_multiple: as for `whole_images.image_batches`.
    """

    def __init__(
        self,
        predictor: Predictor,
        weights: RunWeights,
        *,
        threshold: float,
        images_per_device: int,
        size_multiple: int,
    ):
        self._mesh = predictor.mesh
        self._batch_size = images_per_device * self._mesh.size
        self._size_multiple = size_multiple
        self._weights = jax.device_put(
            (weights.params, weights.batch_stats), sharding.replicated(self._mesh)
        )
        self._step = make_labelling_step(predictor, threshold=threshold)

    def label(
        self, source: Source, unreadable: dict[int, ValueError]
    ) -> Iterator[tuple[list[int], list[Prediction]]]:
        """Yields the numbers of the images of a batch and what is predicted of them.

        Args:
          source: the images.
          unreadable: as for `whole_images.image_batches`.

        Raises:
          FloatingPointError: that is not finite; names the images.
        """
        batches = whole_images.image_batches(
            source,
            batch_size=self._batch_size,
            size_multiple=self._size_multiple,
            unreadable=unreadable,
        )
        params, batch_stats = self._weights
        shardings = {"image": sharding.whole_images(self._mesh)}
        for batch, arrays in predictor_lib.summaries(
            self._step, params, batch_stats, batches, source, shardings
        ):
            yield (
                [int(index) for index in batch["index"]],
                [Prediction(*each) for each in predictor_lib.without_padding(batch, arrays)],
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

    def write(index: int, prediction: Prediction) -> Labelled:
        return target.write(todo[index], prediction, todo.path(index))

    with (
        Progress("autolabel", len(mine), len(mine) - len(todo)) as progress,
        Preemption() as preemption,
        futures.ThreadPoolExecutor(_WRITERS, "hmsa-write") as pool,
    ):
        if not len(todo):
            return []
        for indices, predictions in teacher.label(todo, unreadable):
            for labelled in pool.map(write, indices, predictions):
                target.record(labelled)
                progress.advance()
            if preemption.requested_of_any():
                break
    return todo.describe(unreadable)
