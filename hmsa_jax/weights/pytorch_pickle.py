"""The pickle in a PyTorch checkpoint: which tensors there are, and which storages they view.

Unpickling calls what a pickle names. Here a name stands for a tensor, a container or a dtype, or
for an object that does nothing; no name is ever imported.
"""

import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

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
# A pickle gets names of dtypes, not dtypes: those have a state, which it could set.
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


class Unpickler(pickle.Unpickler):
    """Unpickles tensors without their values, and plain containers; the rest becomes inert.

    Whatever is wrong with the pickle, `load` raises `pickle.UnpicklingError`.

    Args:
      file: seekable, at the start of a pickle; left after it.

    Attributes:
      storages: every storage that the pickle mentions, by key.
    """

    def __init__(self, file: BinaryIO):
        super().__init__(file, encoding="latin1")  # decodes any string that Python 2 wrote
        self.storages: dict[str, Storage] = {}
        self._file = file

    def load(self) -> Any:
        try:
            _refuse_gaps_in_memo(self._file)
            return super().load()
        except Exception as error:  # a damaged pickle fails in every way there is
            raise pickle.UnpicklingError(str(error)) from None

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if full_name in _DTYPE_NAMES:
            return _DTYPE_NAMES[full_name]
        if full_name == "collections.OrderedDict":
            return _Mapping
        if full_name in _REBUILD:
            # A function of its own: a pickle can set the attributes of what it is given.
            return lambda *args: _REBUILD[full_name](*args)
        if name == "getattr":  # how a class within a class is named
            return lambda *args: _Inert
        return type(full_name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == "module":  # a network's class, and its source code
            return rest[0]
        dtype, key, _, numel, *view = rest
        if kind != "storage" or any(view) or not (isinstance(numel, int) and numel >= 0):
            raise pickle.UnpicklingError(f"not a storage: {pid}")
        self.storages[key] = Storage(key, dtype, numel)
        return self.storages[key]


def _refuse_gaps_in_memo(file: BinaryIO) -> None:
    """Raises ValueError for a memo number out of turn: room would be made for all below it."""
    start = file.tell()
    turn = 0
    for opcode, number, _ in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            turn += 1
            if number > turn:
                raise ValueError(f"memo {number} before {turn}")
    file.seek(start)


class _Mapping(dict):
    """An OrderedDict without attributes."""

    def __setstate__(self, state):
        pass


class _Inert:
    """An object that is no part of a state dict: accepts what a pickle does to it, does nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def _ignore(self, *args):
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


def _tensor(storage, offset, size, stride, *_):
    return _tensor_v3(storage, offset, size, stride, None, None, storage.dtype)


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, *_):
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError(f"not a storage: {storage}")
    return Tensor(storage, offset, size, stride, dtype)


def _parameter(tensor, *_):
    return tensor


_REBUILD = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}


def dumps(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pickles `{'state_dict': OrderedDict(arrays)}`; the n-th array is all of storage n.

    The opcodes are written out, since a Pickler writes only names that it can import.

    Args:
      arrays: in C order, of dtypes in `STORAGES`.
    """
    items = (
        _plain(name) + _dump_tensor(str(key), array)
        for key, (name, array) in enumerate(arrays.items())
    )
    state = _EMPTY_ORDERED_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS
    content = pickle.EMPTY_DICT + _plain("state_dict") + state + pickle.SETITEM
    return pickle.PROTO + b"\x02" + content + pickle.STOP


_EMPTY_ORDERED_DICT = (
    pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
)


def _dump_tensor(key: str, array: np.ndarray) -> bytes:
    storage = _tuple(
        _plain("storage"),
        pickle.GLOBAL + f"torch\n{STORAGES[array.dtype]}\n".encode(),
        _plain(key),
        _plain("cpu"),
        _plain(array.size),
    )
    arguments = _tuple(
        storage + pickle.BINPERSID,
        _plain(0),
        _plain(array.shape),
        _plain(tuple(step // array.itemsize for step in array.strides)),
        pickle.NEWFALSE,
        _EMPTY_ORDERED_DICT,
    )
    return pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n" + arguments + pickle.REDUCE


def _tuple(*members: bytes) -> bytes:
    return pickle.MARK + b"".join(members) + pickle.TUPLE


def _plain(value: str | int | tuple[int, ...]) -> bytes:
    """The opcodes of a value, without the pickle's start and end."""
    return pickle.dumps(value, protocol=2)[2:-1]
