"""A network as an ONNX file of one image at a time, for onnxruntime and others."""

import importlib.util
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hmsa_jax.exported.model import Deviation
from hmsa_jax.exported.one_platform import on_platform
from hmsa_jax.exported.program import Program
from hmsa_jax.runtime.files import store

METADATA = "hmsa_jax"  # under which the file says what the network is, as JSON
INPUTS = ("image", "size")

_NEEDED = ("jax2onnx", "onnx", "onnxruntime")
_TOLERANCE = {"classes": 1e-3, "probability": 1e-3}  # other sums decide some ties


def check(dtype: str) -> None:
    """Raises ValueError if files cannot be made here, or not of this dtype."""
    if dtype != "float32":
        raise ValueError(f"--dtype is {dtype}, but --format=onnx is float32; leave --dtype out")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--format=onnx needs {' and '.join(missing)}: pip install --no-deps -r"
            " requirements-onnx.txt"
        )


def write(program: Program, about: Mapping[str, Any], path: pathlib.Path) -> str:
    """Writes the file, once onnxruntime says of pictures with it what the network says.

    Args:
      program: what is exported.
      about: what the file says of the network.
      path: of the file.

    Returns:
      How near it comes, in a line.

    Raises:
      ValueError: not near enough; nothing is written then.
    """
    model = _convert(program)
    model.metadata_props.add(key=METADATA, value=json.dumps(about))
    data = model.SerializeToString(deterministic=True)
    deviation = _deviation(program, data)
    if any(getattr(deviation, name) > most for name, most in _TOLERANCE.items()):
        raise ValueError(
            f"--format=onnx: onnxruntime does not compute what the run does: {deviation}."
            f" {path} is not written; export --format=stablehlo, and report this"
        )
    store(path, data)
    return f"by onnxruntime {deviation}"


def _convert(program: Program) -> Any:
    import jax2onnx

    names = sorted(jax.eval_shape(program, program.weights, *program.inputs(1)))

    def results(*images: jax.Array) -> list[jax.Array]:
        arrays = dict(zip(INPUTS, images, strict=False))
        summary = program.together(program.weights, arrays)
        return [summary[name] for name in names]

    inputs = program.inputs(1)
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)  # of packages that nothing here needs
    return jax2onnx.to_onnx(
        on_platform(results, "cpu", *inputs),
        inputs,
        input_names=INPUTS[: len(inputs)],
        output_names=names,
        model_name="hmsa_jax",
    )


def _deviation(program: Program, data: bytes) -> Deviation:
    """What comes of the program's pictures by onnxruntime on a CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    differing, distances = [], []
    for test in program.expected():
        rows, columns = test["image"].shape[:2]
        arrays = dict(zip(INPUTS, program.arrays(test["image"]), strict=False))
        got = dict(zip(names, session.run(names, arrays), strict=True))
        cut = {name: got[name][0, :rows, :columns] for name in ("classes", "probability")}
        differing.append(np.ravel(cut["classes"] != test["classes"]))
        expected = test["probability"].astype(int)
        distances.append(np.ravel(np.abs(cut["probability"] - expected)) / 255)
    distance = np.concatenate(distances)
    classes = np.concatenate(differing).mean()
    return Deviation(float(classes), float(distance.mean()), float(distance.max()))
