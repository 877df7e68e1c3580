"""PyTorch checkpoints (`.pth`), without PyTorch and without executing what is in the file.

A checkpoint is a pickle in which tensors are views of numbered storages, and the storages' bytes
beside it: as records of a zip archive (PyTorch >= 1.6), or one after another in the same file.
"""

import io
import os
import pathlib
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from hmsa_jax.runtime import files
from hmsa_jax.weights import inert_pickle, state_dict
from hmsa_jax.weights.file_type import recognize
from hmsa_jax.weights.pytorch_pickle import DTYPES, STORAGES, Storage, Tensor, dumps, load

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_MAX_DIRECTORY = 2**22  # bytes; that of HRNet-W48 with its average and Adam's state has 2**19
_MAX_NUMBER = 2**63  # arithmetic with larger numbers takes long
_EXPANSION = 4  # how many times the size of the file its tensors may have: some share a storage
_SAVE_AGAIN = "save it in PyTorch with torch.save({'state_dict': model.state_dict()}, path)"
_DAMAGED = "is cut off or damaged; download or copy it again"


class StateDict(dict[str, np.ndarray]):
    """Name -> array.

    Attributes:
      place: where in the file it stands, like `model.state_dict`; '' where it is all of it.
      others: the places of other state dicts in the file.
    """

    place: str = ""
    others: Sequence[str] = ()


def read(path: str | os.PathLike) -> StateDict:
    """Reads the state dict of a checkpoint; its other contents, such as momentum, are left unread.

    Args:
      path: file whose object is the mapping from names to tensors, or one that holds it under one
        of `state_dict.PLACES`, or in a mapping there. Of several the first is taken.

    Returns:
      Name, as it stands in the file -> array, read-only; float16/32/64, bfloat16, int8/16/32/64,
      uint8/16/32/64 or bool. Tensors that share a storage share memory.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it holds no state dict, or not a readable one; says what it is instead.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; name a PyTorch checkpoint")
    with path.open("rb") as file:
        try:
            return _read(file)
        except _Unreadable as problem:
            raise ValueError(f"{path} {problem}") from None
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} {_DAMAGED}, or it is no PyTorch checkpoint ({error})"
            ) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError):
            raise ValueError(f"{path} {_DAMAGED}") from None


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes `{'state_dict': tensors}` as a checkpoint that `torch.load` reads, weights only.

    The file appears when it is whole; equal tensors make equal bytes.

    Args:
      path: replaced if it exists.
      tensors: name -> array, of a dtype that `read` returns, but uint16/32/64.

    Raises:
      ValueError: a dtype that PyTorch has no storage for.
    """
    path = pathlib.Path(path)
    arrays = {name: dense(array) for name, array in tensors.items()}
    for name, array in arrays.items():
        if array.dtype not in STORAGES:
            names = ", ".join(dtype.name for dtype in STORAGES)
            raise ValueError(f"{path}: {name} is {array.dtype}; PyTorch stores {names}")
    with files.atomic_path(path) as partial, zipfile.ZipFile(partial, "w") as archive:

        def add(record: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(f"archive/{record}"), content)

        add("data.pkl", dumps(arrays))
        add("byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            add(f"data/{key}", array.tobytes())
        add("version", b"3\n")


def dense(array: np.ndarray) -> np.ndarray:
    """The array in C order and little-endian, as files of weights store it."""
    array = np.asarray(array, order="C")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


class _Unreadable(Exception):
    """What is wrong with a file, as the rest of a sentence that its path begins."""


def _read(file: BinaryIO) -> StateDict:
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK"):
        return _read_zip(file)
    if head.startswith(pickle.PROTO):
        return _read_legacy(file)
    sort = recognize(head) or "of another format"
    raise _Unreadable(f"is {sort}, no PyTorch checkpoint; download or copy it again")


def _read_zip(file: BinaryIO) -> StateDict:
    left = _size_of(file)
    reader = _Reader(file, _MAX_DIRECTORY)
    with zipfile.ZipFile(reader) as archive:
        reader.most = left
        root = _root(archive)
        length = archive.getinfo(f"{root}data.pkl").file_size
        if inert_pickle.MAX_BYTES < length <= left:
            raise _Unreadable(
                f"has a pickle of {length} bytes, expected {inert_pickle.MAX_BYTES} at most;"
                f" {_SAVE_AGAIN}"
            )
        pickled = _record(archive, f"{root}data.pkl", inert_pickle.MAX_BYTES)
        found = _state_dict(load(inert_pickle.Pickles(io.BytesIO(pickled)))[0])

        def read_storage(storage: Storage) -> bytes:
            nonlocal left  # records that overlap may together exceed their file
            content = _record(archive, f"{root}data/{storage.key}", left)
            left -= len(content)
            return content

        return _to_arrays(*found, read_storage, _size_of(file))


class _Reader:
    """A file for `zipfile` that limits what is read at once, since `zipfile` trusts the file.

    Attributes:
      most: bytes that may be read at once.
    """

    def __init__(self, file: BinaryIO, most: int):
        self.most = most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file = file

    def read(self, count: int = -1) -> bytes:
        if count > self.most:
            raise _Unreadable(f"is damaged: it claims {count} bytes where at most {self.most} are")
        return self._file.read(count)


def _record(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a record, which PyTorch stores as they are."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise _Unreadable(_DAMAGED) from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise _Unreadable(f"has compressed records, which PyTorch never writes; {_SAVE_AGAIN}")
    if info.file_size > most or info.compress_size != info.file_size:
        raise _Unreadable(f"is damaged: the size of its record {name!r:.60} cannot be")
    return archive.read(info)


def _root(archive: zipfile.ZipFile) -> str:
    """The archive's one directory, with a slash."""
    names = archive.namelist()
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise _Unreadable("is a zip archive, but no PyTorch checkpoint; name the .pth file itself")
    (root,) = roots
    if f"{root}constants.pkl" in names or any(name.startswith(f"{root}code/") for name in names):
        raise _Unreadable(f"is a TorchScript program; load it with torch.jit.load, {_SAVE_AGAIN}")
    if f"{root}byteorder" in names and _record(archive, f"{root}byteorder", 16) != b"little":
        raise _big_endian()
    return root


def _read_legacy(file: BinaryIO) -> StateDict:
    pickles = inert_pickle.Pickles(file)
    for expected in (_MAGIC, _PROTOCOL):
        number, _ = load(pickles)
        if type(number) is not int or number != expected:
            raise _Unreadable(f"is a pickle, but no PyTorch checkpoint; {_SAVE_AGAIN}")
    system, _ = load(pickles)
    if type(system) is dict and system.get("little_endian") is False:
        raise _big_endian()
    checkpoint, storages = load(pickles)
    found = _state_dict(checkpoint)
    keys, _ = load(pickles)
    positions = _legacy_positions(file, keys, storages)

    def read_storage(storage: Storage) -> bytes:
        if storage.key not in positions:
            raise _Unreadable(_DAMAGED)
        start, end = positions[storage.key]
        file.seek(start)
        return file.read(end - start)

    return _to_arrays(*found, read_storage, _size_of(file))


def _legacy_positions(
    file: BinaryIO, keys: Any, storages: dict[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Where the bytes of each storage begin and end, as far as the file goes."""
    positions = {}
    file_size = _size_of(file)
    for key in keys if type(keys) is list else ():
        count = int.from_bytes(file.read(8), "little", signed=True)
        if type(key) is not str or key not in storages or key in positions:
            raise _Unreadable(_DAMAGED)
        if count != storages[key].numel:
            raise _Unreadable(_DAMAGED)
        start = file.tell()
        end = start + _nbytes(storages[key])
        if end > file_size:
            break
        positions[key] = start, end
        file.seek(end)
    return positions


def _size_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _state_dict(checkpoint: Any) -> tuple[dict[str, Tensor], str, list[str]]:
    found = state_dict.find(checkpoint)
    if found is None:
        content = state_dict.describe(checkpoint)
        raise _Unreadable(f"holds no state dict, but {content}; {_SAVE_AGAIN}")
    return found


def _to_arrays(
    tensors: dict[str, Tensor],
    place: str,
    others: list[str],
    read_storage: Callable[[Storage], bytes],
    file_size: int,
) -> StateDict:
    buffers = {}
    arrays = StateDict()
    arrays.place, arrays.others = place, others
    left = _EXPANSION * file_size
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage.key not in buffers:
            buffers[storage.key] = read_storage(storage)
        if len(buffers[storage.key]) < _nbytes(storage):
            raise _Unreadable(_DAMAGED)
        arrays[name] = _view(name, tensor, buffers[storage.key])
        left -= arrays[name].nbytes
        if left < 0:
            raise _Unreadable(
                f"is damaged: its tensors have over {_EXPANSION} times the size of the file"
            )
    return arrays


def _view(name: str, tensor: Tensor, buffer: bytes) -> np.ndarray:
    """The array that a tensor is: a part of its storage. Offset and stride count elements.

    The numbers come from the file and are checked: none of them may lead out of the storage.
    """
    dtype = _dtype(tensor.dtype)
    size, stride, offset = tensor.size, tensor.stride, tensor.offset
    try:
        if not all(type(numbers) in (tuple, list) for numbers in (size, stride)):
            raise ValueError
        if not all(
            type(number) is int and 0 <= number < _MAX_NUMBER for number in (offset, *size, *stride)
        ):
            raise ValueError
        if len(size) != len(stride):
            raise ValueError
        if 0 in size:
            return np.empty(size, dtype)
        end = 1 + offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if end * dtype.itemsize > _nbytes(tensor.storage):
            raise ValueError
        strides = [step * dtype.itemsize for step in stride]
        return np.ndarray(size, dtype, buffer, offset * dtype.itemsize, strides)
    except (TypeError, ValueError, OverflowError):
        raise _Unreadable(
            f"is damaged: tensor {name!r:.60} reaches out of its storage; download or copy it again"
        ) from None


def _nbytes(storage: Storage) -> int:
    return storage.numel * _dtype(storage.dtype).itemsize


def _dtype(name: Any) -> np.dtype:
    if not (type(name) is str and name in DTYPES):
        other = f" ({name.full_name:.60})" if type(name) is inert_pickle.Name else ""
        raise _Unreadable(f"holds tensors of another dtype{other} than {', '.join(DTYPES)}")
    return DTYPES[name]


def _big_endian() -> _Unreadable:
    return _Unreadable(f"was written on a big-endian machine; {_SAVE_AGAIN} on a little-endian one")
