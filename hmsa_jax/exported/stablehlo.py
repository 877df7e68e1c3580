"""A network as a file that `model.load` opens: StableHLO, for CPUs, NVIDIA GPUs and TPUs."""

import contextlib
import importlib.util
import io
import json
import pathlib
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.export
import numpy as np

from hmsa_jax.exported import model
from hmsa_jax.exported.program import Program, refuse_far
from hmsa_jax.runtime.files import atomic_path

PLATFORMS = ("cpu", "cuda", "tpu")

# What is computed elsewhere may differ by this: five times as far as bfloat16 is from float32 in
# the network of configs/street_scenes.py. The file and the run on one machine differ by less.
TOLERANCE = {"classes": 0.03, "probability": 0.015}
TOLERANCE_HERE = {"classes": 0.006, "probability": 0.003}


def check(dtype: str, is_exact: bool) -> None:
    """Raises ValueError if what it takes to write the file is missing; all else will do."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ValueError("--format=stablehlo needs flatbuffers: pip install flatbuffers")


def write(program: Program, about: Mapping[str, Any], path: pathlib.Path) -> str:
    """Writes the file, once it is opened and has said of pictures what the network says.

    Args:
      program: what is exported.
      about: what `network.json` says of the network.
      path: of the file.

    Returns:
      How near it comes, in a line.

    Raises:
      ValueError: not near enough; nothing is written then.
    """
    exported = _export(program)
    tests = {
        f"{number}/{name}": array
        for number, test in enumerate(program.expected())
        for name, array in test.items()
    }
    arrays = {f"{model.WEIGHTS}{name}": array for name, array in program.weights.items()}
    arrays |= {f"{model.TESTS}{name}": array for name, array in tests.items()}
    files = {f"{name}.npy": _npy(array) for name, array in arrays.items()}
    files |= {model.PROGRAM: bytes(exported.serialize())}
    about = {
        "format": model.FORMAT,
        "version": model.VERSION,
        **about,
        "platforms": exported.platforms,
        "calling_convention": exported.calling_convention_version,
        "tests": sum(name.endswith("/image") for name in tests),
        "tests_computed_on": jax.devices()[0].device_kind,
        "tolerance": TOLERANCE,
        "files": len(files) + 1,
    }
    files = {model.ABOUT: (json.dumps(about, indent=1) + "\n").encode(), **files}
    with atomic_path(path) as partial:
        with zipfile.ZipFile(partial, "w") as archive:
            for name, data in files.items():
                # Weights hardly get smaller.
                is_stored = name.startswith(model.WEIGHTS)
                how = zipfile.ZIP_STORED if is_stored else zipfile.ZIP_DEFLATED
                archive.writestr(_entry(name), data, how)
        opened = model.load(partial, check=False)
        deviation = model.Deviation.between(model.results(opened, tests))
        refuse_far(deviation, TOLERANCE_HERE, path)
    return str(deviation)


def _export(program: Program) -> jax.export.Exported:
    (batch,) = jax.export.symbolic_shape("batch")
    weights = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for name, array in program.weights.items()
    }
    with _no_source_lines():
        export = jax.export.export(jax.jit(program), platforms=PLATFORMS)
        return export(weights, *program.inputs(batch))


@contextlib.contextmanager
def _no_source_lines() -> Iterator[None]:
    """Programs do not say from which lines of which files, in whose home, they come."""
    before = jax.config.values["jax_traceback_in_locations_limit"]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        yield
    finally:
        jax.config.update("jax_traceback_in_locations_limit", before)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Without a time, so that the same network makes the same bytes."""
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    return entry
