"""The pickle in a PyTorch checkpoint: which tensors there are, and which storages they view.

Nothing in it is executed or imported: see `inert_pickle`.
"""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from hmsa_jax.weights import inert_pickle

STORAGES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}
_UNTYPED = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64))
DTYPES = {dtype.name: dtype for dtype in (*STORAGES, *_UNTYPED)}
_DTYPE_NAMES = (
    {f"torch.{storage}": dtype.name for dtype, storage in STORAGES.items()}
    | {f"torch.{name}": name for name in DTYPES}
    | {"torch.UntypedStorage": "uint8", "torch.storage.UntypedStorage": "uint8"}
)


class Storage(NamedTuple):
    """Numbers in the file, found by `key`; `dtype` is a key of `DTYPES`, or any object."""

    key: str
    dtype: Any
    numel: int


class Tensor(NamedTuple):
    """A view of a storage; the file's numbers, unchecked."""

    storage: Storage
    offset: Any
    size: Any
    stride: Any
    dtype: Any


def load(pickles: inert_pickle.Pickles) -> tuple[Any, dict[str, Storage]]:
    """Reads the next pickle of a file.

    Args:
      pickles: in the file, which is left after this one.

    Returns:
      What it holds, with a `Tensor` for each tensor, and all storages that it mentions by key. The
      file decides how deep the former is nested: see `inert_pickle.load`.

    Raises:
      pickle.UnpicklingError: whatever is wrong with it.
    """
    storages: dict[str, Storage] = {}

    def persistent(pid: tuple) -> Any:
        if len(pid) == 4 and pid[0] == "module":  # a network's class, and its source code
            return pid[1]
        storage = _storage(*pid)
        storages[storage.key] = storage
        return storage

    value = inert_pickle.load(
        pickles, names=_DTYPE_NAMES, functions=_FUNCTIONS, persistent=persistent
    )
    return value, storages


def _storage(
    kind: Any, dtype: Any, key: Any, location: Any, numel: Any, view: Any = None
) -> Storage:
    if not (_is_text(kind, "storage") and type(key) is str and _is_size(numel) and view is None):
        raise pickle.UnpicklingError("it names a storage that is none")
    return Storage(key, dtype, numel)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    return _tensor_v3(storage, offset, size, stride, None, None, getattr(storage, "dtype", None))


def _tensor_v3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    *_: Any,
) -> Tensor:
    if type(storage) is not Storage:
        raise pickle.UnpicklingError("it has a tensor without a storage")
    return Tensor(storage, offset, size, stride, dtype)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_FUNCTIONS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}


def _is_text(value: Any, text: str) -> bool:
    return type(value) is str and value == text


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def dumps(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pickles `{'state_dict': OrderedDict(arrays)}`; the n-th array is all of storage n.

    The opcodes are written out, since a Pickler writes only names that it can import.

    Args:
      arrays: in C order, of dtypes in `STORAGES`.
    """
    items = (
        _opcodes(name) + _dump_tensor(str(key), array)
        for key, (name, array) in enumerate(arrays.items())
    )
    state = _EMPTY_ORDERED_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS
    content = pickle.EMPTY_DICT + _opcodes("state_dict") + state + pickle.SETITEM
    return pickle.PROTO + b"\x02" + content + pickle.STOP


_EMPTY_ORDERED_DICT = (
    pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
)


def _dump_tensor(key: str, array: np.ndarray) -> bytes:
    storage = _tuple(
        _opcodes("storage"),
        pickle.GLOBAL + f"torch\n{STORAGES[array.dtype]}\n".encode(),
        _opcodes(key),
        _opcodes("cpu"),
        _opcodes(array.size),
    )
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _opcodes(0),
        _opcodes(array.shape),
        _opcodes(tuple(step // array.itemsize for step in array.strides)),
        pickle.NEWFALSE,
        _EMPTY_ORDERED_DICT,
    )
    return pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + arguments + pickle.REDUCE


def _tuple(*members: bytes) -> bytes:
    return pickle.MARK + b"".join(members) + pickle.TUPLE


def _opcodes(value: str | int | tuple[int, ...]) -> bytes:
    """The opcodes of a value, without the pickle's start and end."""
    return pickle.dumps(value, protocol=2)[2:-1]
