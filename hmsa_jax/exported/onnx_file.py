"""A network as an ONNX file of one image at a time, for onnxruntime and others."""

import importlib.util
import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from hmsa_jax.exported.model import Deviation
from hmsa_jax.exported.one_platform import on_platform
from hmsa_jax.exported.program import Program, refuse_far
from hmsa_jax.runtime.files import store

METADATA = "hmsa_jax"  # under which the file says what the network is, as JSON
IMAGE = "image"  # name of the input, uint8 [1, H, W, 3]

_NEEDED = ("jax2onnx", "onnx", "onnx_ir", "onnxruntime")
_TOLERANCE = {"classes": 1e-3, "probability": 1e-3}  # other sums decide some ties


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
    refuse_far(deviation, _TOLERANCE, path)
    store(path, data)
    return f"by onnxruntime {deviation}"


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


def _deviation(program: Program, data: bytes) -> Deviation:
    """What comes of the program's picture by onnxruntime on a CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (test,) = program.expected()
    results = session.run(names, {IMAGE: test["image"][None]})
    return Deviation.between([(dict(zip(names, results, strict=True)), test)])
