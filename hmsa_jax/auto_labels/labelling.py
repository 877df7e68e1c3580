"""A teacher labels images: hard labels where it is sure (paper section 4)."""

import jax

from hmsa_jax.auto_labels.labelled_images import LabelledImages, Prediction
from hmsa_jax.inference.image_job import ImagePredictor, work_through
from hmsa_jax.inference.predictor import Summarize, most_probable, to_byte
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.input.pipeline import Source


def labels_above(threshold: float) -> Summarize:
    """What leaves the device: for each image what a `Prediction` holds.

    Args:
      threshold: what the probability of a label that is kept exceeds.
    """

    def labels(outputs: list[ProtocolOutput], batch: dict[str, jax.Array]) -> Prediction:
        classes, probability = most_probable(outputs[0].logits)
        return Prediction(classes, to_byte(probability), probability > threshold)

    return labels


def label(
    source: Source, mine: range, target: LabelledImages, teacher: ImagePredictor
) -> list[str]:
    """Labels this process's images that are not done, until a signal stops it.

    Args:
      source: the images of all processes.
      mine: the numbers of those of this process.
      target: takes the labels.
      teacher: yields a `Prediction` of each image.

    Returns:
      The images that cannot be read, a line each that says why.
    """
    return work_through(
        "autolabel",
        source,
        mine,
        target.done(),
        predict=teacher.predictions,
        write=lambda todo, index, prediction: target.write(
            todo[index], prediction, todo.path(index)
        ),
        record=target.record,
    )
