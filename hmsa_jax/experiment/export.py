"""The command `export`: a network of a run as one file that needs nothing of this project."""

import copy
import hashlib
import json
import pathlib
from typing import Any

import jax
import ml_collections

from data.label_spec import LabelSpec
from hmsa_jax.auto_labels import unlabelled_images
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import feasibility, protocols, start
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.exported import calibration as calibration_lib
from hmsa_jax.exported.formats import FORMATS, Format
from hmsa_jax.exported.program import Program, Size, canvas_for
from hmsa_jax.input import photometric
from hmsa_jax.runtime import storage, versions
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity


def export(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    out: pathlib.Path,
    size: Size,
    *,
    form: str = "stablehlo",
    is_exact: bool = False,
    protocol: str | None = None,
    flip: bool | None = None,
    dtype: str | None = None,
    precision: str | None = None,
    calibration: str | None = None,
    step: int | None = None,
) -> None:
    """Writes a run's network, with its way to predict, into a file, and checks that file.

    Args:
      config: of the run.
      workdir: of the run; its data set need not be there.
      out: the file to write, which must not exist.
      size: most rows and columns of an image.
      form: name in `FORMATS`.
      is_exact: whether all images have that size; else smaller ones are taken, too.
      protocol: how to predict; None: as in the paper, over the scales 0.5, 1 and 2.
      flip: whether to take the mean with the logits of the mirror image; None: as `evaluate.flip`
        says.
      dtype: that the network computes in; None: what suits the format, or that of the run.
      precision: name in the format's `precisions`; None: float32 if it has any.
      calibration: images for a precision that needs some, a directory or NAME/SPLIT of a data set,
        which is built from the run's fields if it is not yet; `calibration.MOST` are read.
      step: of the checkpoint, from `--step`.

    Raises:
      ValueError: an argument or the config cannot be used, or the file is not near enough to the
        run; nothing is written then.
      FileNotFoundError: the run has no checkpoint, the folder of `out` is missing, or there are no
        images to calibrate with.
    """
    label_spec = start.check_run(config, workdir, needs_data=False)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    _check_out(out)
    chosen = FORMATS.get(form)
    _check_precision(form, chosen, precision, calibration)
    dtype = dtype or chosen.dtype or config.model.dtype
    chosen.check(dtype, is_exact)
    way = protocols.of_prediction(protocol, config)
    _check_size(config, way, size)
    canvas = canvas_for(size, is_exact)
    bits: dict[str, Any] = {} if precision is None else {"precision": precision}
    if calibration is not None:
        source, _ = unlabelled_images.open_images(calibration, None, config.data, "--calibration")
        bits["images"] = calibration_lib.images_of(source, canvas)
    flip = config.evaluate.flip if flip is None else flip
    weights = checkpoint.read_weights(workdir, "--workdir", step)
    of_dtype = copy.deepcopy(config)
    of_dtype.model.dtype = dtype
    mesh = sharding.make_mesh(1, 1, jax.local_devices()[:1])
    experiment = assemble(of_dtype, label_spec=label_spec, mesh=mesh)
    predictor = experiment.predictor((way,), flip=flip, images=1, each_scale=True)
    program = Program(predictor, weights.params, weights.batch_stats, canvas, is_exact)
    about = _about(config, label_spec, program, weights.step, dtype)
    tell(f"Step {weights.step} of {workdir}, {way.name}, is traced, compiled and checked.")
    deviation = chosen.write(program, about, out, **bits)
    tell(f"{out} has it for images of {_in_words(program)}. Beside the run itself, {deviation}.")


def _check_out(out: pathlib.Path) -> None:
    if out.exists():
        raise ValueError(f"--out is {out}, which exists; name another file, or remove it")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"--out is {out}, but {out.parent} is no directory; make it")
    storage.check_place(out.parent, "--out")


def _check_precision(
    form: str, chosen: Format, precision: str | None, calibration: str | None
) -> None:
    needs_images = False
    if precision is not None:
        if chosen.precisions is None:
            raise ValueError(
                f"--precision is {precision}, but --format={form} computes in the dtype of the run"
                " or in --dtype; leave --precision out, or take --format=onnx"
            )
        needs_images = chosen.precisions.get(precision).is_calibrated
    if needs_images and calibration is None:
        raise ValueError(
            f"--precision={precision} needs images that show which numbers occur; name some like"
            " those that the network is for: --calibration=DIRECTORY or DATASET/SPLIT"
        )
    if calibration is not None and not needs_images:
        raise ValueError(
            f"--calibration is {calibration}, but only --precision=int8 needs images; add it, or"
            " leave --calibration out"
        )


def _check_size(config: ml_collections.ConfigDict, way: protocols.Protocol, size: Size) -> None:
    """Raises ValueError for images that `predict` would not look at as a whole."""
    feasibility.check_scales("--size", way.scales, size)
    if protocols.tiling_of(way, config).applies(size):
        raise ValueError(
            f"--size is {size[0]}x{size[1]}, of which `predict` makes tiles: it is more than"
            f" evaluate.tile_above={config.evaluate.tile_above} pixels. An exported network looks"
            " at images as a whole; name a smaller --size, or a larger"
            " --config.evaluate.tile_above"
        )


def _about(
    config: ml_collections.ConfigDict,
    label_spec: LabelSpec,
    program: Program,
    step: int,
    dtype: str,
) -> dict[str, Any]:
    """What a file says of its network, whatever its format."""
    predictor = program.predictor
    (way,) = predictor.protocols
    fields = json.dumps(schema.flatten(config), sort_keys=True)
    return {
        "classes": label_spec.names,
        "palette": [list(map(int, colour)) for colour in label_spec.palette],
        "label_values": list(label_spec.class_values),
        "protocol": {
            "method": way.method,
            "scales": way.scales,
            "percent": way.percent,
            "flip": predictor.flip,
            "fusion_resolution": predictor.fusion_resolution,
        },
        "canvas": program.canvas,
        "exact": program.is_exact,
        "smallest_side": program.smallest_side,
        "dtype": dtype,
        "normalization": {
            "inside": True,
            "mean": photometric.MEAN.tolist(),
            "deviation": photometric.DEVIATION.tolist(),
        },
        "run": {
            "step": step,
            "weights": integrity.digest_of_all(integrity.digests(program.weights)),
            "config": hashlib.sha256(fields.encode()).hexdigest()[:32],
        },
        "versions": versions.of_all(),
    }


def _in_words(program: Program) -> str:
    rows, columns = program.canvas
    return f"{rows} x {columns} pixels" if program.is_exact else f"up to {rows} x {columns} pixels"
