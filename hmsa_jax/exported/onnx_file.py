"""A network as an ONNX file of one image at a time, for onnxruntime and others."""

import dataclasses
import importlib.util
import json
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from hmsa_jax.exported.model import Deviation
from hmsa_jax.exported.one_platform import on_platform
from hmsa_jax.exported.precision import IMAGE, PRECISIONS
from hmsa_jax.exported.program import Program, refuse_far
from hmsa_jax.runtime.files import store
from hmsa_jax.runtime.progress import track

METADATA = "hmsa_jax"  # under which the file says what the network is, as JSON

_NEEDED = ("jax2onnx", "onnx", "onnx_ir", "onnxruntime")
_TOLERANCE = {"classes": 1e-3, "probability": 1e-3}  # other sums decide some ties

Results = dict[str, np.ndarray]  # by name of the output
Predict = Callable[[np.ndarray], Results]  # of an image, uint8 [H, W, 3]


def check(dtype: str, is_exact: bool) -> None:
    """Raises ValueError if files cannot be made here, or not of this dtype or of any size."""
    if dtype != "float32":
        raise ValueError(f"--dtype is {dtype}, but --format=onnx is float32; leave --dtype out")
    if not is_exact:
        raise ValueError("--format=onnx is for images of one size alone; add --exact")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--format=onnx needs {' and '.join(missing)}: pip install --no-deps -r"
            " requirements-onnx.txt"
        )


def write(
    program: Program,
    about: Mapping[str, Any],
    path: pathlib.Path,
    *,
    precision: str = "float32",
    images: Sequence[np.ndarray] = (),
) -> str:
    """Writes the file, once onnxruntime says of pictures with it what the network says.

    Args:
      program: what is exported.
      about: what the file says of the network.
      path: of the file.
      precision: name in `PRECISIONS`; what has fewer bits is compared with float32.
      images: what a precision that is calibrated needs, uint8 `[H, W, 3]` of the program's size.

    Returns:
      How near it comes, in a line.

    Raises:
      ValueError: not near enough; nothing is written then.
    """
    model = _convert(program)
    data = _with_about(model, about)
    predict = _session(data)
    deviation = Deviation.between((predict(test["image"]), test) for test in program.expected())
    refuse_far(deviation, _TOLERANCE, path)
    said = f"by onnxruntime {deviation}"
    if PRECISIONS.get(precision).change is not None:
        fewer, predict_fewer = _changed(precision, data, images, path)
        images = images or list(program.tests())
        deviation = _loss(predict, predict_fewer, images, precision, path)
        measured = {"images": len(images)} | dataclasses.asdict(deviation)
        data = _with_about(fewer, {**about, "dtype": precision, "beside_float32": measured})
        on = f"{len(images)} images" if len(images) > 1 else "one image"
        said += f"; in {precision}, beside float32 on {on}, {deviation}"
    store(path, data)
    return said


def _changed(
    name: str, data: bytes, images: Sequence[np.ndarray], path: pathlib.Path
) -> tuple[Any, Predict]:
    """The model of a float32 file in another precision, opened."""
    precision = PRECISIONS.get(name)
    assert precision.change is not None
    try:
        model = precision.change(data, images)
        return model, _session(model.SerializeToString())
    except Exception as error:  # whatever a converter may raise
        raise ValueError(
            f"{path} is not written: onnxruntime makes no {name} of it ({error});"
            f" {precision.remedy}"
        ) from error


def _loss(
    float32: Predict, fewer: Predict, images: Sequence[np.ndarray], name: str, path: pathlib.Path
) -> Deviation:
    """How far a precision is from float32 on images; ValueError if that is too far."""
    is_finite = []

    def results() -> Iterator[tuple[Results, Results]]:
        for image in track(images, len(images), "Comparison"):
            got = fewer(image)
            is_finite.append(got["finite"])
            yield got, float32(image)

    deviation, precision = Deviation.between(results()), PRECISIONS.get(name)
    if not all(is_finite) or not deviation.is_within(precision.tolerance):
        why = str(deviation) if all(is_finite) else "what the network says is not finite"
        most = precision.tolerance
        raise ValueError(
            f"{path} is not written, since in {name} it is too far from float32: {why}. At most"
            f" {most['classes']:.1%} and {most['probability']} may differ; {precision.remedy}"
        )
    return deviation


def _with_about(model: Any, about: Mapping[str, Any]) -> bytes:
    """The bytes of a model that says what it is, and nothing else that a converter noted in it."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA, value=json.dumps(about))
    return model.SerializeToString(deterministic=True)


def _convert(program: Program) -> Any:
    import jax2onnx

    names = sorted(jax.eval_shape(program, program.weights, *program.inputs(1)))

    def results(image: jax.Array) -> list[jax.Array]:
        summary = program.together(program.weights, {"image": image})
        return [summary[name] for name in names]

    logging.getLogger("jax2onnx").setLevel(logging.ERROR)  # of packages that nothing here needs
    model = jax2onnx.to_onnx(
        on_platform(results, "cpu", *program.inputs(1)),
        program.inputs(1),
        input_names=[IMAGE],
        output_names=names,
        model_name="hmsa_jax",
    )
    return _weights_once(model)


def _weights_once(model: Any) -> Any:
    """Equal constants become one: every scale has brought the weights of the network."""
    import onnx_ir
    from onnx_ir.passes import common

    result = common.DeduplicateHashedInitializersPass()(onnx_ir.from_proto(model))
    return onnx_ir.to_proto(result.model)


def _session(data: bytes) -> Predict:
    """What onnxruntime says on a CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def predict(image: np.ndarray) -> Results:
        results = session.run(names, {IMAGE: image[None]})
        return {name: x[0] for name, x in zip(names, results, strict=True)}

    return predict
