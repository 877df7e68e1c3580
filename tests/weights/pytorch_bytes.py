"""Files as PyTorch writes them, and damaged ones, byte by byte."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from hmsa_jax.weights import pytorch_pickle

ARRAYS = {"w": np.arange(6, dtype=np.float32), "n": np.array(7, np.int64)}
ALL_DTYPES = {
    dtype.name: np.array([[0, 1, 1], [1, 0, 100]]).astype(dtype).T
    for dtype in pytorch_pickle.STORAGES
}


def opcodes(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def pickled(arrays=ARRAYS, **beside):
    """The pickle of `{'state_dict': arrays}`, with more entries given as opcodes."""
    entries = b"".join(opcodes(key) + value + pickle.SETITEM for key, value in beside.items())
    return pytorch_pickle.dumps(arrays)[:-1] + entries + pickle.STOP


def storages_of(arrays=ARRAYS):
    return {str(i): (x.size, x.tobytes()) for i, x in enumerate(arrays.values())}


def zip_bytes(content=None, storages=None, compression=zipfile.ZIP_STORED, **records):
    """A checkpoint of PyTorch >= 1.6."""
    content = pickled() if content is None else content
    storages = storages_of() if storages is None else storages
    records = {"data.pkl": content, "byteorder": b"little", **records}
    records |= {f"data/{key}": data for key, (_, data) in storages.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def legacy_bytes(content=None, storages=None, little_endian=True, protocol=1001, keys=None):
    """A checkpoint of PyTorch < 1.6."""
    content = pickled() if content is None else content
    storages = storages_of() if storages is None else storages
    head = (0x1950A86A20F9469CFC6C, protocol, {"little_endian": little_endian})
    parts = [pickle.dumps(part, protocol=2) for part in head]
    parts += [content, pickle.dumps(keys or list(storages), protocol=2)]
    parts += [count.to_bytes(8, "little") + data for count, data in storages.values()]
    return b"".join(parts)


BOTH_FORMATS = pytest.mark.parametrize("format_bytes", [zip_bytes, legacy_bytes])


def saved(path, content):
    path.write_bytes(content)
    return path


def assert_equal(actual, desired):
    assert list(actual) == list(desired)
    for name, array in desired.items():
        assert actual[name].dtype == array.dtype, name
        np.testing.assert_array_equal(actual[name], array, err_msg=name, strict=True)


def nested(keys, arrays=ARRAYS):
    """The opcodes of a state dict under the keys, one mapping in another."""
    state = pytorch_pickle.dumps(arrays)[2:-1].removeprefix(b"}" + opcodes("state_dict"))[:-1]
    for key in reversed(keys):
        state = b"}" + opcodes(key) + state + b"s"
    return state
