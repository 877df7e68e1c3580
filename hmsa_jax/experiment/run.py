"""A run, opened from Python: its config, classes and weights, and what can be done with them."""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from data.header import Size
from data.label_spec import LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import evaluation, feasibility, protocols, run_directory, start
from hmsa_jax.experiment.experiment import Experiment, assemble
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.prediction import make_prediction_step, most_probable_class
from hmsa_jax.inference.protocol import ProtocolOutput
from hmsa_jax.inference.tiles import TiledPredictor
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.training import checkpoint, training_record


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained network and all that belongs to it.

    Attributes:
      directory: of the run.
      config: of the run.
      classes: names of the classes, in the order of the network's outputs.
      label_spec: the classes with their colours and the values that labels have for them.
      step: of the checkpoint.
      params: the weights to predict with, nested dict of host arrays.
      batch_stats: BatchNorm's running statistics, nested dict of host arrays.
    """

    directory: pathlib.Path
    config: ConfigDict = dataclasses.field(repr=False)
    label_spec: LabelSpec = dataclasses.field(repr=False)
    step: int
    params: dict = dataclasses.field(repr=False)
    batch_stats: dict = dataclasses.field(repr=False)
    _experiment: Experiment = dataclasses.field(repr=False)
    _steps: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.label_spec.names

    def evaluate(self, **changes: Any) -> dict[str, np.ndarray]:
        """Scores the network, as `python main.py evaluate` does.

        Args:
          **changes: other values of fields that may change, with two underscores for a dot:
            `data__eval_split="test"`.

        Returns:
          protocol name -> pixels by label (row) and prediction (column), int64 `[C, C]`.

        Raises:
          ValueError: a field may not change or cannot have that value.
          FileNotFoundError: the data set is not where `data.dir` says.
        """
        fields = {name.replace("__", "."): value for name, value in changes.items()}
        for name in fields:
            if name not in schema.FIELDS:
                raise ValueError(schema.no_such_field(name))
        config = run_directory.resolve(self.directory, None, fields)
        return evaluation.evaluate(config, self.directory, self.step)

    def predict(
        self,
        images: np.ndarray,
        *,
        protocol: str | None = None,
        flip: bool | None = None,
        tile: int | None = None,
    ) -> np.ndarray:
        """The class of each pixel.

        The function that computes it is compiled once for each shape of images. All images of a
        call are computed at once, by one device.

        Args:
          images: uint8 `[H, W, 3]` or `[B, H, W, 3]`, RGB.
          protocol: such as 'hierarchical:0.5,1,2'; None for the paper's scales.
          flip: whether to take the mean with the mirror image; None: as `evaluate.flip` says.
          tile: side of the tiles in which larger images are looked at, one by one; None: as
            `evaluate.tile` and `evaluate.tile_above` say.

        Returns:
          Class numbers, uint8 `[H, W]` or `[B, H, W]`.

        Raises:
          ValueError: `images` are no such array, a scale leaves nothing of them, the network
            cannot do the protocol, or that cannot do with tiles.
          FloatingPointError: the network predicts what is not finite.
        """
        batch, is_batch = _as_batch(images)
        way = protocols.of_prediction(protocol, self.config)
        feasibility.check_scales("protocol", way.scales, batch.shape[1:3])
        flip = self.config.evaluate.flip if flip is None else flip
        tiling = protocols.tiling_of(way, self.config, tile)
        if tiling.applies(batch.shape[1:3]):
            network = self._tiled(way, flip, tiling.side)
            each = [network.predict(f"image {i}", image) for i, image in enumerate(batch)]
            return np.stack(each) if is_batch else each[0]
        _check_memory(batch.shape[:3], way)
        classes, finite = jax.device_get(self._step(way, flip, len(batch))({"image": batch}))
        bad = [f"image {number}" for number in np.flatnonzero(~finite)]
        protocol_lib.refuse_not_finite(bad)
        return classes if is_batch else classes[0]

    def outputs(
        self,
        images: np.ndarray,
        *,
        protocol: str | None = None,
        flip: bool | None = None,
        canvas: Size | None = None,
    ) -> ProtocolOutput:
        """The logits, and what each scale says by itself: its logits, and its share in the result.

        Args:
          images: as for `predict`.
          protocol: as for `predict`.
          flip: as for `predict`.
          canvas: rows and columns of the arrays that are computed, at least those of the images.
            Images of all sizes on a canvas share a program. None: those of the images.

        Returns:
          Arrays on the device, `[B, *canvas, ...]` float32, with B = 1 for one image, which is at
          the top left; what is outside of it has no meaning. The largest logit of a pixel is that
          of the class that `predict` returns.

        Raises:
          ValueError: as for `predict`; or the canvas is smaller than the images.
          FloatingPointError: the network predicts what is not finite.
        """
        batch, _ = _as_batch(images)
        way = protocols.of_prediction(protocol, self.config)
        size = batch.shape[1:3]
        feasibility.check_scales("protocol", way.scales, size)
        margin = [(0, side - own) for side, own in zip(canvas or size, size, strict=True)]
        if min(margin)[1] < 0:
            raise ValueError(f"canvas is {canvas}, smaller than the images of {size}")
        _check_memory((len(batch), *(canvas or size)), way)
        arrays = {"image": np.pad(batch, [(0, 0), *margin, (0, 0)])}
        if canvas is not None:
            arrays["size"] = np.full((len(batch), 2), size, np.int32)
        flip = self.config.evaluate.flip if flip is None else flip
        output, finite = self._outputs_step(way, flip, len(batch))(*self._weights_on_device, arrays)
        bad = [f"image {number}" for number in np.flatnonzero(~np.asarray(finite))]
        protocol_lib.refuse_not_finite(bad)
        return output

    def _outputs_step(self, way: protocol_lib.Protocol, flip: bool, images: int) -> Callable:
        key = (way, flip, images, "outputs")
        if key not in self._steps:
            predictor = self._experiment.predictor(
                (way,), flip=flip, images=images, each_scale=True
            )
            self._steps[key] = predictor.step(_only, sharding.whole_images(predictor.mesh))
        return self._steps[key]

    def _step(self, way: protocol_lib.Protocol, flip: bool, images: int) -> Callable:
        """The prediction that suits so many images, given the weights."""
        key = (way, flip, images)
        if key not in self._steps:
            step = make_prediction_step(
                self._experiment.predictor((way,), flip=flip, images=images)
            )
            self._steps[key] = functools.partial(step, *self._weights_on_device)
        return self._steps[key]

    def _tiled(self, way: protocol_lib.Protocol, flip: bool, side: int) -> TiledPredictor:
        """The prediction in tiles of this side."""
        key = (way, flip, "tiles", side)
        if key not in self._steps:
            predictor = self._experiment.predictor((way,), flip=flip, images=1)
            self._steps[key] = TiledPredictor(
                predictor,
                *self._weights_on_device,
                most_probable_class,
                side=side,
                tiles_per_device=1,
            )
        return self._steps[key]

    @functools.cached_property
    def _weights_on_device(self) -> tuple[dict, dict]:
        return jax.device_put((self.params, self.batch_stats))


def _as_batch(images: np.ndarray) -> tuple[np.ndarray, bool]:
    """Images as uint8 `[B, H, W, 3]`, and whether they are several; ValueError if they are none."""
    images = np.asarray(images)
    is_image = images.dtype == np.uint8 and images.ndim in (3, 4) and images.shape[-1] == 3
    if not is_image or not len(images):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}; expected uint8 [H, W, 3] or"
            " [B, H, W, 3], of one image or more"
        )
    return (images, True) if images.ndim == 4 else (images[None], False)


def _check_memory(shape: tuple[int, ...], way: protocol_lib.Protocol) -> None:
    """Raises ValueError if no device holds images `[B, H, W]` at the scales of a protocol."""
    images, rows, columns = shape
    named = f"{images} images of {rows} x {columns} pixels"
    feasibility.check_scaled(named, math.prod(shape), f"protocol {way.name}", way.scales)


def _only(outputs: Sequence[ProtocolOutput], batch: dict[str, jax.Array]) -> ProtocolOutput:
    """Summarizes the outputs of one protocol: all of it."""
    return outputs[0]


def load(directory: str | os.PathLike, step: int | str | None = None) -> Run:
    """Opens a run; neither its data set nor its config file is needed.

    Args:
      directory: that `train` or `convert --from` filled.
      step: of the checkpoint; 'best': the best one, where the training kept it; None, or 'latest':
        the newest good one.

    Raises:
      FileNotFoundError: it is no run, or has no such checkpoint.
      ValueError: its config, classes or checkpoints are damaged.
    """
    path = any_path(os.fspath(directory), "the directory of a run")
    if not run_directory.exists(path):
        raise FileNotFoundError(f"{path} holds no config.json; name the directory of a run")
    config = run_directory.read_config(path)
    label_spec = start.check_run(config, path, needs_data=False)
    named = training_record.named_step(path, "the run", step)
    weights = checkpoint.read_weights(path, "the run", named)
    mesh = sharding.make_mesh(1, 1, jax.local_devices()[:1])
    experiment = assemble(config, label_spec=label_spec, mesh=mesh)
    return Run(
        path, config, label_spec, weights.step, weights.params, weights.batch_stats, experiment
    )
