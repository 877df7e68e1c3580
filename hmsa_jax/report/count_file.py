"""The file of an evaluation's counts: the confusion matrix of each image by each protocol."""

import contextlib
import dataclasses
import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.runtime.files import store

_DAMAGE = (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Origin:
    """What counts are of.

    Attributes:
      split: data set and split, as `street_scenes/validation`.
      step: of the checkpoint.
    """

    split: str
    step: int


def write(
    path: pathlib.Path, origin: Origin, confusions: ImageConfusions, kind: Mapping[str, Any]
) -> None:
    """Writes a compressed `.npz`: all of it or none.

    It has `images`, `protocols` and `classes` (names), `confusion` int32 `[images, protocols,
    classes, classes]` (row: label, column: prediction), `split`, `step`, and `kind` as JSON.

    Args:
      path: of the file.
      origin: of the counts.
      confusions: the counts.
      kind: all that they depend on, which JSON can hold.
    """
    file = io.BytesIO()
    np.savez_compressed(
        file,
        images=np.array(confusions.images, np.str_),
        protocols=np.array(confusions.protocols, np.str_),
        classes=np.array(confusions.classes, np.str_),
        confusion=confusions.counts,
        split=np.array(origin.split),
        step=np.array(origin.step),
        kind=np.array(json.dumps(kind)),
    )
    store(path, file.getvalue())


def read_origin(path: pathlib.Path) -> Origin:
    """What the counts in a file are of, without reading them; ValueError as of `read`."""
    with _opened(path) as arrays:
        return Origin(str(arrays["split"]), int(arrays["step"]))


def read_kind(path: pathlib.Path) -> Any:
    """What the counts in a file depend on; ValueError as of `read`."""
    with _opened(path) as arrays:
        return json.loads(str(arrays["kind"]))


def read(path: pathlib.Path) -> ImageConfusions:
    """The counts in a file.

    Raises:
      ValueError: the file is damaged, or another one.
    """
    with _opened(path) as arrays:
        images, protocols, classes = (
            tuple(arrays[name].tolist()) for name in ("images", "protocols", "classes")
        )
        counts = arrays["confusion"]
        expected = (len(images), len(protocols), len(classes), len(classes))
        if counts.shape != expected or counts.dtype != np.int32:
            raise ValueError(
                f"counts are {counts.dtype} {list(counts.shape)}, expected int32 {list(expected)}"
            )
    return ImageConfusions(images, protocols, classes, counts)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Any]:
    """Opens the file; what goes wrong while it is read says what to do."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is damaged, or holds no counts of an evaluation ({error}); remove it and run"
            " `evaluate` again"
        ) from error
