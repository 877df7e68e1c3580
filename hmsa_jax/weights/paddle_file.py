"""Weights of PaddlePaddle (`.pdparams`), without PaddlePaddle and without executing a file.

Such a file is one pickle: a mapping from names to NumPy arrays, whose bytes stand in it, and beside
them a table of other names for the same.
"""

import math
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from hmsa_jax.weights import inert_pickle, state_dict
from hmsa_jax.weights.file_type import recognize
from hmsa_jax.weights.inert_pickle import Name, Unfinished
from hmsa_jax.weights.pytorch_file import StateDict

_TABLE = "StructuredToParameterName@@"
_DTYPES = {f"{kind}{n}" for kind in "fiu" for n in (1, 2, 4, 8)} - {"f1"} | {"b1"}
_MAX_DIMENSIONS = 32
_EXPANSION = 4  # how many times the size of the file its arrays may have: some share their bytes
_SAVE_AGAIN = "save it in PaddlePaddle with paddle.save(model.state_dict(), path)"


def read(path: str | os.PathLike) -> StateDict:
    """Reads the arrays of a file that `paddle.save` wrote of a state dict.

    Args:
      path: the file.

    Returns:
      Name, as it stands in the file -> array, read-only; float16/32/64, int8/16/32/64,
      uint8/16/32/64 or bool.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no state dict, or not a readable one; says what it is instead.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; name weights of PaddlePaddle")
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if not head.startswith(pickle.PROTO):
            sort = recognize(head) or "of another format"
            raise ValueError(f"{path} is {sort}, no .pdparams file; download or copy it again")
        try:
            content = _Content(file)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} is cut off or damaged, or it is no .pdparams file ({error});"
                " download or copy it again"
            ) from None
    if content.problem:
        raise ValueError(f"{path} {content.problem}")
    return content.arrays


class _Content:
    """What a file holds.

    Attributes:
      arrays: of its state dict.
      problem: what it is in place of one, as the rest of a sentence that its path begins; or ''.
    """

    def __init__(self, file: BinaryIO):
        self._bytes_left = size = os.fstat(file.fileno()).st_size
        functions: dict[str, Callable] = {
            "_codecs.encode": self._encode,
            "__builtin__.bytes": _no_bytes,
            "numpy.dtype": _DType,
        }
        for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
            functions[f"{module}._reconstruct"] = Array
        value = inert_pickle.load(
            inert_pickle.Pickles(file, size), names={}, functions=functions, persistent=_refuse
        )
        self.arrays = StateDict()
        self.problem = self._take(value, _EXPANSION * size)

    def _take(self, value: Any, most: int) -> str:
        """Fills `arrays`; returns the problem."""
        entries = value if type(value) is dict else {}
        tensors = {name: x for name, x in entries.items() if name != _TABLE}
        strange = [name for name, x in tensors.items() if type(x) is not Array]
        if not tensors or strange or not all(type(name) is str for name in tensors):
            return f"holds no state dict, but {state_dict.describe(value)}; {_SAVE_AGAIN}"
        for name, array in tensors.items():
            if array.value is None:
                raise pickle.UnpicklingError("it has an array without values")
            self.arrays[name] = array.value
            most -= array.value.nbytes
            if most < 0:
                return f"is damaged: its arrays have over {_EXPANSION} times the size of the file"
        return ""

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """How the bytes of an array stand in pickles of protocol 2."""
        if type(text) is not str or type(encoding) is not str or encoding != "latin1":
            raise pickle.UnpicklingError("it encodes what no array is")
        self._bytes_left -= len(text)
        if self._bytes_left < 0:
            raise pickle.UnpicklingError("its arrays have more bytes than it")
        return text.encode("latin1")


class _DType(Unfinished):
    """The type of an array's numbers.

    Attributes:
      value: the type.
    """

    def __init__(self, code: Any, *_: Any):
        if type(code) is not str or code not in _DTYPES:
            raise pickle.UnpicklingError("an array of it holds no numbers")
        self.value = np.dtype(code)

    def set_state(self, state: Any) -> None:
        if type(state) is not tuple or len(state) < 2 or type(state[1]) is not str:
            raise pickle.UnpicklingError("it has an array of a type that is none")
        if state[1] not in "<|=":
            raise pickle.UnpicklingError("it was written on a big-endian machine")


class Array(Unfinished):
    """An array; errors name its type.

    Attributes:
      value: its numbers, read-only; None before BUILD.
    """

    def __init__(self, kind: Any, *_: Any):
        if type(kind) is not Name or kind.full_name != "numpy.ndarray":
            raise pickle.UnpicklingError("it has an array of another kind")
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Takes `(version, shape, dtype, whether in Fortran's order, bytes)` and checks them."""
        _, shape, dtype, in_columns, content = state
        if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS or type(dtype) is not _DType:
            raise pickle.UnpicklingError("it has an array without shape or type")
        if not all(type(n) is int and 0 <= n < 2**63 for n in shape) or type(content) is not bytes:
            raise pickle.UnpicklingError("it has an array of no possible shape")
        if math.prod(shape) * dtype.value.itemsize != len(content):
            raise pickle.UnpicklingError("an array of it has other bytes than its shape asks for")
        numbers = np.frombuffer(content, dtype.value)
        self.value = numbers.reshape(shape, order="F" if in_columns is True else "C")


def _no_bytes() -> bytes:
    """How the bytes of an empty array stand in pickles of protocol 2."""
    return b""


def _refuse(_: tuple) -> Any:
    raise pickle.UnpicklingError("it refers to what is beside it")
