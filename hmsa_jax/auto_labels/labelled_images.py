"""The directory that auto-labelling fills: a data set of images, masks and classes."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from data import folder, header
from data.label_spec import IGNORE, LabelSpec, differing_labels, differing_names
from data.pixels import encode_image, encode_label
from hmsa_jax.input import decoding
from hmsa_jax.report import pictures
from hmsa_jax.runtime import storage, work_record
from hmsa_jax.runtime.files import store, write_atomically
from hmsa_jax.runtime.work_record import WorkRecord

LEAST = "least"
"""Of the settings: see `least_there`."""

_COMMAND = "autolabel"
_CLASSES = "classes.json"
_SPLIT = "train"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a teacher says of an image.

    Attributes:
      classes: the most probable class, uint8 `[H, W]`.
      probability: 255 times its probability, rounded, uint8 `[H, W]`.
      kept: whether the probability exceeds the threshold, bool `[H, W]`.
    """

    classes: Any  # arrays of JAX on the device, of numpy when they are fetched
    probability: Any
    kept: Any


@dataclasses.dataclass(frozen=True)
class Labelled:
    """What is on record of a labelled image.

    Attributes:
      id: of the image.
      rows: of the image.
      columns: of the image.
      predicted: pixels by predicted class.
      kept: those of them whose probability exceeded the threshold.
      bytes: of the mask and the probabilities as they are stored.
    """

    id: str
    rows: int
    columns: int
    predicted: list[int]
    kept: list[int]
    bytes: int


class LabelledImages(WorkRecord):
    """A `folder` data set (data/folder.py) that is written image by image.

    It holds, in this layout:

        images/train/ID.*           the image, linked to its file where that is possible
        masks/train/ID.png          8-bit grey, the values that the labels of the label spec have
        probabilities/train/ID.png  8-bit grey, 255 times the probability, rounded
        previews/ID.jpg             the image beside its coloured label, if wanted
        classes.json                what the masks' values mean
        autolabel.json              how the labels were made
        labelled-PROCESS.jsonl      what is done, one line an image

    An image is done when its line is written, which is last of all. Use as a context manager.

    Args:
      directory: made if it is missing; else it must have been made with the same settings.
      label_spec: the classes, and the values that stand for them in the masks.
      settings: all that the labels depend on, as JSON has it.
      previews: whether to write pictures to look at, too.
      process_index: which process this is: each writes images and a record of its own.

    Raises:
      ValueError: the directory holds something else, or labels made in another way.
    """

    def __init__(
        self,
        directory: Path,
        label_spec: LabelSpec,
        settings: dict,
        *,
        previews: bool,
        process_index: int = 0,
    ):
        check(directory, label_spec, settings)
        super().__init__(
            directory, _COMMAND, "labelled", settings, process_index, before=_before(settings)
        )
        self._label_spec = label_spec
        self._previews = previews
        write_atomically(directory / _CLASSES, folder.classes_text(label_spec))

    def done(self) -> dict[str, Labelled]:
        """The images that are labelled, by any process, by id."""
        masks = set(storage.files_below(self.directory / "masks" / _SPLIT))
        return {line.id: line for line in self.lines(Labelled) if f"{line.id}.png" in masks}

    def write(
        self, record: decoding.Record, prediction: Prediction, original: Path | None
    ) -> Labelled:
        """Writes all files of an image; several threads may do so at once.

        Args:
          record: 'image', JPEG or PNG bytes, and 'id'.
          prediction: of the image.
          original: the image's file, if it is one: linked instead of copied on one file system.

        Returns:
          What `record` is to put on record afterwards.
        """
        name = record["id"]
        labels = np.where(prediction.kept, prediction.classes, np.uint8(IGNORE))
        values = bytearray([self._label_spec.uncertain_value] * 256)
        values[: len(self._label_spec.names)] = self._label_spec.class_values
        mask = encode_label(cv2.LUT(labels, np.frombuffer(values, np.uint8)))
        probability = encode_label(prediction.probability)
        store(self._path("masks", name, ".png"), mask)
        store(self._path("probabilities", name, ".png"), probability)
        if self._previews:
            preview = pictures.beside(
                decoding.decode_image(record), labels, self._label_spec.palette
            )
            store(self._path("previews", name, ".jpg"), encode_image(preview))
        suffix = ".png" if header.read(record["image"]).form == "PNG" else ".jpg"
        _link(self._path("images", name, suffix), record["image"], original)
        count = len(self._label_spec.names)
        return Labelled(
            id=name,
            rows=labels.shape[0],
            columns=labels.shape[1],
            predicted=np.bincount(prediction.classes.ravel(), minlength=count).tolist(),
            kept=np.bincount(labels.ravel(), minlength=256)[:count].tolist(),
            bytes=len(mask) + len(probability),
        )

    def record(self, labelled: Labelled) -> None:
        """Puts on record that an image is done."""
        self.add(dataclasses.asdict(labelled))

    def _path(self, kind: str, name: str, suffix: str) -> Path:
        return self.directory / kind / _SPLIT / f"{name}{suffix}"


def least_there(directory: Path) -> Any:
    """By class, 255 times the probability from which labels are kept in a directory; None: no such.

    `check` makes sure that it is that.

    Raises:
      ValueError: its settings are damaged.
    """
    return work_record.settings_of(directory, _COMMAND).get(LEAST)


def check(directory: Path, label_spec: LabelSpec, settings: dict) -> None:
    """Makes sure that a directory is new, or was begun in the same way; writes nothing.

    Args:
      directory: as for `LabelledImages`.
      label_spec: as for `LabelledImages`; its names and values must be those of the masks there.
      settings: as for `LabelledImages`.

    Raises:
      ValueError: it holds something else, or labels made in another way; all that differs is
        listed.
    """
    others: list[str] = []
    if (directory / _CLASSES).exists() and (directory / f"{_COMMAND}.json").exists():
        classes = folder.read_classes(directory / _CLASSES)
        others = differing_names(classes.names, label_spec.names)
        others = others or differing_labels(classes, label_spec)
    work_record.check(directory, _COMMAND, settings, others, before=_before(settings))
    least = settings.get(LEAST)
    if least is not None and not _are_bytes(least, label_spec.names):
        path = directory / f"{_COMMAND}.json"
        raise ValueError(
            f"{path} is damaged ({LEAST!r} is {least!r}; expected 0 to 255 for each class); name"
            " another --out"
        )


def _before(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that earlier versions did not write: they are not known, or had one value."""
    return {"fusion_resolution": "features", "weights": settings.get("weights")}


def _are_bytes(least: Any, names: Sequence[str]) -> bool:
    if not isinstance(least, dict) or [*least] != [*names]:
        return False
    return all(type(byte) is int and 0 <= byte <= 255 for byte in least.values())


def _link(path: Path, encoded: bytes, original: Path | None) -> None:
    if storage.is_remote(path):
        store(path, encoded)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if original is not None and not storage.is_remote(original) and not path.exists():
        with contextlib.suppress(OSError):  # another file system, or one without links
            path.hardlink_to(original)
    if not path.exists():
        store(path, encoded)
