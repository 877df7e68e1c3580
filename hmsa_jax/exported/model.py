"""A network in a file, as `export` writes it: opened, checked and run by jax and numpy alone.

This file needs nothing of the project and may be copied elsewhere. The file it opens is a zip:

network.json         what the network is: classes, colours, protocol, sizes, precision, versions
program.stablehlo    its program, of `jax.export`: (weights by name, image[, size]) -> results
weights/NAME.npy     float32
tests/N/*.npy        a picture, and what the network said of it where it was exported
"""

import dataclasses
import importlib.util
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.export
import numpy as np

FORMAT = "hmsa_jax exported network"
VERSION = 1  # of what stands in a file and where

ABOUT, PROGRAM, WEIGHTS, TESTS = "network.json", "program.stablehlo", "weights/", "tests/"

_DAMAGE = (zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, RuntimeError)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network says of an image, or of a batch of images, `[B, ...]` each.

    Attributes:
      classes: the most probable class of each pixel, uint8 `[H, W]`.
      probability: 255 times its probability, rounded, uint8 `[H, W]`.
      shares: scale -> 255 times its share in the result, rounded, uint8 `[H, W]`; empty where the
        method gives none.
    """

    classes: np.ndarray
    probability: np.ndarray
    shares: dict[float, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Deviation:
    """How far results are from those that stand in a file, over all pixels of its pictures.

    Attributes:
      classes: share of the pixels that get another class.
      probability: mean difference of the probabilities.
      largest: largest difference of the probabilities.
    """

    classes: float
    probability: float
    largest: float

    @classmethod
    def between(cls, results: Iterable[tuple[Mapping, Mapping]]) -> "Deviation":
        """Of results from those that are expected: `classes` and `probability`, uint8 each."""
        differing, distances = [], []
        for got, expected in results:
            differing.append(np.ravel(got["classes"] != expected["classes"]))
            distance = got["probability"].astype(int) - expected["probability"].astype(int)
            distances.append(np.ravel(np.abs(distance)) / 255)
        differs, distance = np.concatenate(differing), np.concatenate(distances)
        return cls(float(differs.mean()), float(distance.mean()), float(distance.max()))

    def is_within(self, allowed: Mapping[str, float]) -> bool:
        """Whether no number is larger than the one that is allowed for it, by name."""
        return all(getattr(self, name) <= most for name, most in allowed.items())

    def __str__(self) -> str:
        return (
            f"{self.classes:.3%} of the pixels get another class; probabilities differ by"
            f" {self.probability:.4f} in the mean and {self.largest:.3f} at most"
        )


class ExportedModel:
    """A network, ready to predict; from `load`.

    Attributes:
      about: all that `network.json` says.
      deviation: what came of the file's pictures here; None where that was not asked for.
    """

    about: dict[str, Any]
    deviation: Deviation | None = None

    def __init__(self, about: dict[str, Any], program: Callable, weights: dict[str, np.ndarray]):
        self.about = about
        self._program = jax.jit(program)
        self._weights = jax.device_put(weights)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        return tuple(self.about["classes"])

    @property
    def palette(self) -> np.ndarray:
        """RGB of each class, uint8 `[classes, 3]`: `palette[classes]` is a picture."""
        return np.array(self.about["palette"], np.uint8)

    @property
    def label_values(self) -> np.ndarray:
        """The value that labels have for each class, uint8 `[classes]`."""
        return np.array(self.about["label_values"], np.uint8)

    @property
    def scales(self) -> tuple[float, ...]:
        """At which the network looks at an image, ascending."""
        return tuple(self.about["protocol"]["scales"])

    @property
    def canvas(self) -> tuple[int, int]:
        """Most rows and columns of an image; the only ones where the file says `exact`."""
        rows, columns = self.about["canvas"]
        return rows, columns

    def predict(self, image: np.ndarray) -> Prediction:
        """What the network says of an image, or of several of one size.

        The program is compiled once for each number of images.

        Args:
          image: uint8 `[H, W, 3]` or `[B, H, W, 3]`, RGB, of at most the size of the canvas.

        Raises:
          ValueError: it is no such array, or too large or too small.
          FloatingPointError: what the network predicts is not finite.
        """
        image = np.asarray(image)
        is_image = image.dtype == np.uint8 and image.ndim in (3, 4) and image.shape[-1] == 3
        if not is_image or not len(image):
            raise ValueError(
                f"image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3] or"
                " [B, H, W, 3], of one image or more"
            )
        batch = image if image.ndim == 4 else image[None]
        rows, columns = batch.shape[1:3]
        self._check_size(rows, columns)
        result = jax.device_get(self._program(self._weights, *self._arrays(batch)))
        bad = [str(number) for number in np.flatnonzero(~result["finite"])]
        if bad:
            raise FloatingPointError(
                f"what the network says of image {', '.join(bad)} is not finite"
            )

        def own(x: np.ndarray) -> np.ndarray:
            cut = np.ascontiguousarray(x[:, :rows, :columns])
            return cut if image.ndim == 4 else cut[0]

        shares = result.get("shares")
        return Prediction(
            own(result["classes"]),
            own(result["probability"]),
            {} if shares is None else {s: own(shares[:, i]) for i, s in enumerate(self.scales)},
        )

    def _check_size(self, rows: int, columns: int) -> None:
        most_rows, most_columns = self.canvas
        if self.about["exact"] and (rows, columns) != self.canvas:
            raise ValueError(
                f"the image is {rows} x {columns}; this file is for images of"
                f" {most_rows} x {most_columns} pixels alone"
            )
        smallest = self.about["smallest_side"]
        if rows > most_rows or columns > most_columns or min(rows, columns) < smallest:
            raise ValueError(
                f"the image is {rows} x {columns}; expected {smallest} to {most_rows} rows and"
                f" {smallest} to {most_columns} columns. Resize it, or export a larger --size"
            )

    def _arrays(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the program reads of images: themselves, or a canvas and their sizes."""
        if self.about["exact"]:
            return (batch,)
        size = batch.shape[1:3]
        margin = [(0, most - own) for most, own in zip(self.canvas, size, strict=True)]
        return np.pad(batch, [(0, 0), *margin, (0, 0)]), np.full((len(batch), 2), size, np.int32)


def load(path: str | os.PathLike, *, check: bool = True) -> ExportedModel:
    """Opens a file of `export`.

    Args:
      path: of the file.
      check: whether to predict the file's pictures and compare: `ExportedModel.deviation`. It takes
        as long as the first prediction, which is quick then.

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: flatbuffers is missing, which `jax.export` reads programs with.
      ValueError: the file is damaged, of another kind, of a version that cannot be read, or for
        other devices; or the results here are not those of the file.
    """
    path = os.fspath(path)
    if importlib.util.find_spec("flatbuffers") is None:
        raise ModuleNotFoundError("jax.export needs flatbuffers: pip install flatbuffers")
    about, files = _read(path)
    program = _program(path, about, files[PROGRAM])
    weights = dict(_arrays_in(path, files, WEIGHTS))
    model = ExportedModel(about, program.call, weights)
    if check:
        tests = dict(_arrays_in(path, files, TESTS))
        model.deviation = Deviation.between(results(model, tests))
        allowed = about["tolerance"]
        if not model.deviation.is_within(allowed):
            raise ValueError(
                f"{path} is not computed here as where it was exported: {model.deviation}. At most"
                f" {allowed['classes']:.1%} and {allowed['probability']} may differ; compare the"
                f" versions {about['versions']} with those here"
            )
    return model


def _read(path: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the file says of itself, and all that is in it, whose checksums are right."""
    with open(path, "rb") as file:  # noqa: PTH123  # whatever names a file
        if not zipfile.is_zipfile(file):
            raise ValueError(
                f"{path} is no exported network, or its end is missing; copy or export it again"
            )
        try:
            with zipfile.ZipFile(file) as archive:
                about = json.loads(archive.read(ABOUT)) if ABOUT in archive.namelist() else {}
                _check_kind(path, about)
                files = {name: archive.read(name) for name in archive.namelist()}
        except _NotOurs:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from error
    if len(files) != about["files"]:
        raise _damaged(path, LookupError(f"it holds {len(files)} of {about['files']} files"))
    return about, files


class _NotOurs(ValueError):
    """A whole file, but not one that is read here."""


def _check_kind(path: str, about: Any) -> None:
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _NotOurs(f"{path} is no exported network: it has no {ABOUT} that says so")
    if about.get("version") != VERSION:
        raise _NotOurs(
            f"{path} is of version {about.get('version')} of the format, and version {VERSION} is"
            " read here; open it with the hmsa_jax that made it, or export it again"
        )


def _program(path: str, about: dict[str, Any], data: bytes) -> jax.export.Exported:
    oldest = jax.export.minimum_supported_calling_convention_version
    newest = jax.export.maximum_supported_calling_convention_version
    version = about["calling_convention"]
    if not oldest <= version <= newest:
        raise ValueError(
            f"{path} has a program of jax.export's calling convention {version}, and jax"
            f" {jax.__version__} reads {oldest} to {newest}; use a jax near to"
            f" {about['versions']['jax']}, or export it again"
        )
    try:
        program = jax.export.deserialize(bytearray(data))
    except Exception as error:  # whatever a reader of bytes may raise
        raise ValueError(
            f"{path}: jax {jax.__version__} cannot read its program ({error}); use a jax near to"
            f" {about['versions']['jax']}, or export it again"
        ) from error
    here = jax.export.default_export_platform()
    if here not in program.platforms:
        raise ValueError(
            f"{path} is for {', '.join(program.platforms)}, and JAX runs on {here} here; set"
            f" JAX_PLATFORMS={program.platforms[0]}"
        )
    return program


def _arrays_in(path: str, files: dict[str, bytes], folder: str) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays below a folder of the file, by their path there without the suffix."""
    for name, data in files.items():
        if name.startswith(folder):
            try:
                array = np.load(io.BytesIO(data), allow_pickle=False)
            except _DAMAGE as error:
                raise _damaged(path, error) from error
            yield name.removeprefix(folder).removesuffix(".npy"), array


def results(
    model: ExportedModel, tests: Mapping[str, np.ndarray]
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """What a model says of each picture, and what is expected, for `Deviation.between`.

    Args:
      model: from `load`.
      tests: `N/image`, `N/classes` and `N/probability` of the pictures N from 0 on.
    """
    for number in range(model.about["tests"]):
        prediction = model.predict(tests[f"{number}/image"])
        expected = {name: tests[f"{number}/{name}"] for name in ("classes", "probability")}
        yield {name: getattr(prediction, name) for name in expected}, expected


def _damaged(path: str, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged ({error}); copy or export it again")
