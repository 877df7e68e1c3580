"""The formats that a network is exported in."""

import dataclasses
from collections.abc import Callable

from hmsa_jax.exported import onnx_file, stablehlo
from hmsa_jax.exported.precision import PRECISIONS, Precision
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
      precisions: of how many bits it may be; `write` then also takes `precision`, a name of them,
        and `images` to calibrate with. None where there is no choice.
    """

    check: Callable[[str, bool], None]
    write: Callable[..., str]
    dtype: str | None = None
    precisions: Registry[Precision] | None = None


FORMATS: Registry[Format] = Registry(
    "format",
    {
        "stablehlo": Format(stablehlo.check, stablehlo.write),
        "onnx": Format(onnx_file.check, onnx_file.write, "float32", PRECISIONS),
    },
)
