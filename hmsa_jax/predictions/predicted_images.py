"""The directory that `predict` fills: masks, and pictures to look at."""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data.label_spec import LabelSpec
from data.pixels import encode_image, encode_label
from hmsa_jax.input.any_image import AnyImage
from hmsa_jax.input.decoding import Record
from hmsa_jax.predictions.image_prediction import ImagePrediction
from hmsa_jax.report import charts, pictures
from hmsa_jax.runtime import work_record
from hmsa_jax.runtime.files import store
from hmsa_jax.runtime.work_record import WorkRecord

COMMAND = "predict"
KINDS = ("mask", "color", "overlay", "probability", "scales")
_LEGEND = "legend.svg"
_COLOURED = {"color", "overlay", "scales"}


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What is on record of a predicted image.

    Attributes:
      id: of the image.
      rows: of the image.
      columns: of the image.
      pixels: by predicted class.
    """

    id: str
    rows: int
    columns: int
    pixels: list[int]


class PredictedImages(WorkRecord):
    """A directory that is written image by image, in this layout:

        masks/ID.png            8-bit grey, the values that the labels of the run's data set have
        color/ID.png            the colour of each pixel's class
        overlay/ID.jpg          the same over the image
        probability/ID.png      8-bit grey, 255 times the probability of the class
        scales/ID.png           what each scale says, and its share: white is 1
        shares/SCALE/ID.png     with them, the share of a scale at full size, 8-bit grey
        legend.svg              the colours of the classes
        predict.json            how all this was made
        predicted-PROCESS.jsonl what is done, one line an image

    An image is done when its line is written, which is last of all. Use as a context manager.

    Args:
      directory: made if it is missing; else it must have been made with the same settings.
      label_spec: the classes, and the values that stand for them in the masks.
      settings: all that the predictions depend on, as JSON has it; 'save' names the kinds.
      reader: reads the images again, for pictures that show them.
      process_index: which process this is: each writes images and a record of its own.

    Raises:
      ValueError: the directory holds something else, or was made in another way.
    """

    def __init__(
        self,
        directory: Path,
        label_spec: LabelSpec,
        settings: Mapping[str, Any],
        reader: AnyImage,
        *,
        process_index: int = 0,
    ):
        super().__init__(
            directory, COMMAND, "predicted", settings, process_index, before=_before(settings)
        )
        self._label_spec = label_spec
        self._kinds = set(settings["save"])
        self._reader = reader
        self._values = np.arange(256, dtype=np.uint8)
        self._values[: len(label_spec.names)] = list(label_spec.class_values)
        if self._kinds & _COLOURED and process_index == 0:
            legend = charts.legend(label_spec.names, label_spec.palette)
            store(directory / _LEGEND, legend.encode())

    def done(self) -> dict[str, Predicted]:
        """The images that are done, by any process, by id."""
        return {line.id: line for line in self.lines(Predicted)}

    def write(self, record: Record, prediction: ImagePrediction) -> Predicted:
        """Writes all files of an image; several threads may do so at once.

        Args:
          record: 'image', the bytes of its file, and 'id'.
          prediction: of the image.

        Returns:
          What `record` is to put on record afterwards.
        """
        name, classes, palette = record["id"], prediction.classes, self._label_spec.palette
        files: dict[str, bytes] = {}
        if "mask" in self._kinds:
            files[f"masks/{name}.png"] = encode_label(cv2.LUT(classes, self._values))
        if "color" in self._kinds:
            files[f"color/{name}.png"] = _png(pictures.coloured(classes, palette))
        if "probability" in self._kinds:
            files[f"probability/{name}.png"] = encode_label(prediction.probability)
        if self._kinds & {"overlay", "scales"}:
            image = self._reader.decode(record)
        if "overlay" in self._kinds:
            files[f"overlay/{name}.jpg"] = encode_image(pictures.overlay(image, classes, palette))
        if "scales" in self._kinds:
            figure = self._figure(image, prediction)
            files[f"scales/{name}.png"] = _png(figure)
            for scale, said in prediction.scales.items():
                if said.share is not None:
                    files[f"shares/{scale:g}/{name}.png"] = encode_label(said.share)
        for path, data in files.items():
            store(self.directory / path, data)
        count = len(self._label_spec.names)
        pixels = np.bincount(classes.ravel(), minlength=count).tolist()
        return Predicted(name, classes.shape[0], classes.shape[1], pixels)

    def record(self, predicted: Predicted) -> None:
        """Puts on record that an image is done."""
        self.add(dataclasses.asdict(predicted))

    def _figure(self, image: np.ndarray, prediction: ImagePrediction) -> np.ndarray:
        """Above the image and the predictions, below the shares and the probability."""
        palette = self._label_spec.palette
        above: list[tuple[str, np.ndarray | None]] = [("image", image)]
        below: list[tuple[str, np.ndarray | None]] = [("", None)]
        for scale, said in sorted(prediction.scales.items()):
            above.append((f"scale {scale:g}", pictures.coloured(said.classes, palette)))
            share = None if said.share is None else np.asarray(said.share)
            below.append(("" if share is None else f"share of {scale:g}", share))
        above.append(("fused", pictures.coloured(np.asarray(prediction.classes), palette)))
        below.append(("probability", np.asarray(prediction.probability)))
        return pictures.grid([above, below])


def check(directory: Path, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if a directory holds something else; writes nothing."""
    work_record.check(directory, COMMAND, settings, before=_before(settings))


def _before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that earlier versions did not write, and which are not known then."""
    return {"weights": settings.get("weights")}


def parse_kinds(text: str) -> list[str]:
    """Reads `--save`.

    Raises:
      ValueError: a kind is unknown, or there is none.

    >>> parse_kinds("overlay,mask")
    ['mask', 'overlay']
    """
    named: Collection[str] = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in named if kind not in KINDS]
    if unknown or not named:
        raise ValueError(f"--save is {text!r}; expected some of {','.join(KINDS)}")
    return [kind for kind in KINDS if kind in named]


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()
