"""A teacher labels images: hard labels where it is sure (paper section 4)."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from hmsa_jax.auto_labels.labelled_images import Labelled, LabelledImages, Prediction
from hmsa_jax.inference.image_job import ImagePredictor, work_through
from hmsa_jax.inference.predictor import Summarize, most_probable, to_byte
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.input.image_files import Selection
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
    source: Source,
    mine: range,
    target: LabelledImages,
    teacher: ImagePredictor,
    least: Sequence[int] | None,
) -> list[str]:
    """Labels this process's images that are not done, until a signal stops it.

    Args:
      source: the images of all processes.
      mine: the numbers of those of this process.
      target: takes the labels.
      teacher: yields a `Prediction` of each image.
      least: of each class 255 times the probability from which its labels are kept; None to keep
        what the predictions say.

    Returns:
      The images that cannot be read, a line each that says why.
    """
    of_class = None if least is None else np.array(least, np.uint8)

    def write(todo: Selection, index: int, prediction: Prediction) -> Labelled:
        if of_class is not None:
            kept = prediction.probability >= of_class[prediction.classes]
            prediction = dataclasses.replace(prediction, kept=kept)
        return target.write(todo[index], prediction, todo.path(index))

    return work_through(
        "autolabel",
        source,
        mine,
        target.done(),
        predict=teacher.predictions,
        write=write,
        record=target.record,
    )
