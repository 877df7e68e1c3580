"""Files of named arrays, as programs of PyTorch and PaddlePaddle write them."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from hmsa_jax.runtime import files
from hmsa_jax.weights import paddle_file, pytorch_file
from hmsa_jax.weights.file_type import recognize

PYTORCH = (".pth", ".pt", ".bin", ".tar")
SAFETENSORS = ".safetensors"
PADDLE = ".pdparams"
_SUFFIXES = f"{', '.join(PYTORCH)} (PyTorch) or {SAFETENSORS}"
_VARIANCES = ("running_var", "._variance")  # in PyTorch and in PaddlePaddle
_LISTED = 5  # names in an error
_MAX_NAME = 500  # characters
_MAX_HEADER = 2**22  # bytes; that of HRNet-W48 has 2**18


def read(path: str | os.PathLike) -> pytorch_file.StateDict:
    """Reads the arrays of a checkpoint, in the format that its suffix says.

    Args:
      path: `.pth`, `.pt`, `.bin` or `.tar` (as in `.pth.tar`): a PyTorch checkpoint;
        `.safetensors`; `.pdparams`: weights of PaddlePaddle.

    Returns:
      Name -> array, as they are in the file; some arrays are read-only.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the suffix is another, the file is not of its format, or holds values that cannot
        be weights.
    """
    path = pathlib.Path(path)
    formats = f"{_SUFFIXES}, or {PADDLE} (PaddlePaddle)"
    arrays = _of_suffix(path, _READERS, formats)(path)
    _refuse_impossible(path, arrays)
    return arrays


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays in the format that the suffix says; the file appears when it is whole.

    Args:
      path: with a suffix that `read` knows, but `.pdparams`; replaced if it exists.
      tensors: name -> array.

    Raises:
      ValueError: the suffix is another, or the format has no such dtype.
    """
    path = pathlib.Path(path)
    _of_suffix(path, _WRITERS, _SUFFIXES)(path, tensors)


def check_suffix(path: pathlib.Path) -> None:
    """Raises ValueError unless `write` knows the suffix of a path."""
    _of_suffix(path, _WRITERS, _SUFFIXES)


def _of_suffix(path: pathlib.Path, functions: Mapping[str, Callable], known: str) -> Callable:
    suffix = path.suffix.lower()
    if suffix not in functions:
        raise ValueError(f"{path}: no format of weights has the suffix {suffix!r}; use {known}")
    return functions[suffix]


def _refuse_impossible(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError for NaN, values beyond float32, variances below 0, unprintable names."""
    strange = [name for name in arrays if len(name) > _MAX_NAME or not name.isprintable()]
    if strange:
        raise ValueError(f"{path} is damaged: it holds a tensor named {strange[0][:40]!r}")
    problems = {
        "not finite in float32": [name for name, x in arrays.items() if not _is_finite(x)],
        "a variance below 0": [
            name for name, x in arrays.items() if name.endswith(_VARIANCES) and (x < 0).any()
        ],
    }
    texts = [f"{_first(names)} ({problem})" for problem, names in problems.items() if names]
    if texts:
        raise ValueError(
            f"{path} holds values that no network computes with: {'; '.join(texts)}. The training"
            " that wrote it had gone wrong, or the file is damaged: take an earlier checkpoint."
        )


def _is_finite(array: np.ndarray) -> bool:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return True  # what the network does not take
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(np.float32)).all())


def _first(names: list[str]) -> str:
    """'a, b and 7 more'."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(name[:60] for name in names[:_LISTED])}{more}"


def _read_safetensors(path: pathlib.Path) -> pytorch_file.StateDict:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; name a {SAFETENSORS} file")
    with path.open("rb") as file:
        sort = recognize(file.read(512))
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _MAX_HEADER + 1))
    try:
        if length > _MAX_HEADER:
            raise ValueError(f"its header has over {_MAX_HEADER} bytes")
        json.loads(header, object_pairs_hook=_mapping)
        return pytorch_file.StateDict(safetensors.numpy.load_file(path))
    except AttributeError as error:
        raise ValueError(f"{path} holds what NumPy cannot; save it as float32 ({error})") from None
    except (safetensors.SafetensorError, ValueError, TypeError, RecursionError) as error:
        reason = f"is {sort}, no {SAFETENSORS} file" if sort else f"is not readable: {error!s:.200}"
        raise ValueError(f"{path} {reason}; download or copy it again") from None


def _mapping(pairs: list[tuple]) -> dict:
    """A mapping from its pairs; refuses a name that stands twice, where the library takes one."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return mapping


def _write_safetensors(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    # The library writes an array's memory as it lies there.
    arrays = {name: pytorch_file.dense(array) for name, array in tensors.items()}
    with files.atomic_path(path) as partial:
        try:
            safetensors.numpy.save_file(arrays, partial)
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} cannot be written: {error}") from None


_READERS: dict[str, Callable[[pathlib.Path], pytorch_file.StateDict]] = {
    **dict.fromkeys(PYTORCH, pytorch_file.read),
    SAFETENSORS: _read_safetensors,
    PADDLE: paddle_file.read,
}
_WRITERS: dict[str, Callable[[pathlib.Path, Mapping[str, np.ndarray]], None]] = {
    **dict.fromkeys(PYTORCH, pytorch_file.write),
    SAFETENSORS: _write_safetensors,
}
