"""The formats that a network is exported in."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from hmsa_jax.exported import onnx_file, stablehlo
from hmsa_jax.exported.program import Program
from hmsa_jax.runtime.registry import Registry


@dataclasses.dataclass(frozen=True)
class Format:
    """An entry of `FORMATS`.

    Attributes:
      check: raises ValueError if it cannot be written here, or not with this dtype to compute in,
        or not for images of one size alone (True) or of any size (False).
      write: given a program, what is said of it, and a path: writes the file, checks it and returns
        in a line how near it comes.
      dtype: that networks compute in there; None for that of the run.
    """

    check: Callable[[str, bool], None]
    write: Callable[[Program, Mapping[str, Any], pathlib.Path], str]
    dtype: str | None = None


FORMATS: Registry[Format] = Registry(
    "format",
    {
        "stablehlo": Format(stablehlo.check, stablehlo.write),
        "onnx": Format(onnx_file.check, onnx_file.write, dtype="float32"),
    },
)
