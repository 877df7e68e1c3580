"""What is no checkpoint of PyTorch, or a damaged one, is told in one line."""

import argparse
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from hmsa_jax.weights import pytorch_file
from tests.fixtures.arrays import FOLDER
from tests.weights.pytorch_bytes import (
    ARRAYS,
    legacy_bytes,
    nested,
    opcodes,
    pickled,
    saved,
    storages_of,
    zip_bytes,
)


def a_network():
    """The pickle of a network with its class, as `torch.save(model)` makes it."""
    source = opcodes("net.py") + opcodes("class Net: pass")
    pid = pickle.MARK + opcodes("module") + b"cnetwork\nNet\n" + source + pickle.TUPLE
    return pickle.PROTO + b"\2" + pid + pickle.BINPERSID + b")" + pickle.NEWOBJ + pickle.STOP


def half(content):
    return content[: len(content) // 2]


def zip_of(**records):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return file.getvalue()


def with_sizes(content, size):
    """A zip archive whose directory claims another size of its last record, stored and unpacked."""
    at = content.rindex(b"PK\1\2") + 20
    return content[:at] + size.to_bytes(4, "little") * 2 + content[at + 8 :]


def two_lengths_of_a_storage():
    """A legacy file that names a storage twice, first with more numbers than it has."""
    long = pickled().replace(opcodes(6) + pickle.TUPLE, opcodes(2**62) + pickle.TUPLE)
    return legacy_bytes(long[:-1] + opcodes("model") + nested([]) + pickle.SETITEM + pickle.STOP)


UNREADABLE = {
    "empty": (b"", "is empty, no PyTorch checkpoint"),
    "html": (b"<!DOCTYPE html>\n<html>Sign in", "is text, such as the page that a failed download"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0", "is a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0\0", "is a JPEG image"),
    "gzip": (b"\x1f\x8b\x08\0", "is gzip-compressed"),
    "other": (b"\0\1\2\3", "is of another format"),
    "half a zip": (half(zip_bytes()), "is cut off or damaged; download"),
    "end of a zip": (zip_bytes()[:-1], "is cut off or damaged; download"),
    "zip, a bit flipped": (
        zip_bytes().replace(ARRAYS["w"].tobytes(), ARRAYS["w"][::-1].tobytes()),
        "is cut off or damaged; download",
    ),
    "zip, a storage missing": (zip_bytes(storages={}), "is cut off or damaged; download"),
    "half a legacy file": (half(legacy_bytes()), "is cut off or damaged; download"),
    "end of a legacy file": (legacy_bytes()[:-1], "is cut off or damaged; download"),
    "legacy, a storage missing": (legacy_bytes(storages={}), "is cut off or damaged; download"),
    "legacy, another storage": (
        legacy_bytes(storages={"5": (1, b"1234"), **storages_of()}),
        "is cut off or damaged; download",
    ),
    "pickle": (pickle.dumps([1, 2]), "is a pickle, but no PyTorch checkpoint; save it"),
    "numpy pickle": (pickle.dumps(np.ones(3)), "is a pickle, but no PyTorch checkpoint"),
    "pickle of half an object": (half(pickle.dumps(list(range(99)))), "is cut off or damaged"),
    "another protocol": (legacy_bytes(protocol=1002), "is a pickle, but no PyTorch checkpoint"),
    "memo": (
        legacy_bytes(b"\x80\2}r\xff\xff\xff\xff."),
        "holds no state dict, but an empty mapping",
    ),
    "two lengths of a storage": (two_lengths_of_a_storage(), "is cut off or damaged; download"),
    "list of keys": (legacy_bytes(keys=[[1]]), "is cut off or damaged"),
    "compressed": (
        zip_bytes(compression=zipfile.ZIP_DEFLATED),
        "has compressed records",
    ),
    "a record larger than the file": (
        with_sizes(zip_bytes(), 2**31 - 1),
        "is damaged: the size of its record 'archive/data/1' cannot be",
    ),
    "a directory larger than any": (
        b"PK\3\4" + bytes(2**22 + 1) + b"PK\5\6" + bytes(8) + b"\1\0\x40\0" + bytes(6),
        "is damaged: it claims 4194305 bytes where at most 4194304 are",
    ),
    "tar": (
        b"sys_info".ljust(257, b"\0") + b"ustar" + bytes(250),
        "is a tar archive, no PyTorch checkpoint",
    ),
    "quantized": (
        zip_bytes(pickled().replace(b"_rebuild_tensor_v2", b"_rebuild_qtensor", 1)),
        r"holds .* \('state_dict': a mapping with a quantized tensor among its tensors, 'w'\)",
    ),
    "a state dict elsewhere": (
        zip_bytes(pickled().replace(opcodes("state_dict"), opcodes("student"))),
        r"holds no state dict, but a mapping \('student': 2 tensors\); save it in PyTorch",
    ),
    "one element, expanded": (
        zip_bytes(
            pickled().replace(
                opcodes((6,)) + opcodes((1,)), opcodes((2**20, 2**20)) + opcodes((0, 0))
            )
        ),
        "is damaged: its tensors have over 4 times the size of the file",
    ),
    "other zip": (zip_of(a=b"1"), "is a zip archive, but no PyTorch checkpoint"),
    "no zip": (zip_of(), "is a zip archive, but no PyTorch checkpoint"),
    "torchscript": (zip_bytes(**{"constants.pkl": b""}), r"is a TorchScript program; load it with"),
    "torchscript code": (zip_bytes(**{"code/net.py": b""}), "is a TorchScript program"),
    "big-endian zip": (zip_bytes(byteorder=b"big"), "was written on a big-endian machine"),
    "big-endian": (legacy_bytes(little_endian=False), "was written on a big-endian machine"),
    "an object": (
        zip_bytes(pickle.dumps(argparse.Namespace(a=1))),
        r"holds no state dict, but an object of type argparse\.Namespace; save it in PyTorch with",
    ),
    "a network": (
        legacy_bytes(a_network()),
        r"holds no state dict, but an object of type network\.Net",
    ),
    "a number": (zip_bytes(pickle.dumps(3)), "holds no state dict, but an object of type int"),
    "nothing": (zip_bytes(pickle.dumps({})), "holds no state dict, but an empty mapping"),
    "no tensors": (
        zip_bytes(pickle.dumps({"epoch": 3, "optimizer": {}})),
        r"holds no state dict, but a mapping \('epoch': an object of type int, 'optimizer': an emp",
    ),
    "a number among tensors": (
        zip_bytes(pickled()[:-2] + opcodes("x") + opcodes(1) + b"s" + pickled()[-2:]),
        r".*'state_dict': a mapping with an object of type int among its tensors, 'x'\); save it",
    ),
    "complex": (
        zip_bytes(pickled().replace(b"FloatStorage", b"ComplexFloatStorage")),
        r"holds tensors of another dtype \(torch\.ComplexFloatStorage\) than float32, float64",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_error_says_what_the_file_is(tmp_path, case):
    content, message = UNREADABLE[case]
    with pytest.raises(ValueError, match=rf"^{tmp_path}/a\.pth {message}") as error:
        pytorch_file.read(saved(tmp_path / "a.pth", content))
    assert error.value.__suppress_context__


def test_a_tensor_alone_is_no_checkpoint():
    with pytest.raises(ValueError, match=r"tensor\.pth holds no state dict, but a tensor; save"):
        pytorch_file.read(FOLDER / "tensor.pth")


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "fifo.pth")  # opening it would wait for ever
    for path in (tmp_path / "missing.pth", tmp_path, tmp_path / "fifo.pth"):
        with pytest.raises(FileNotFoundError, match=f"{path} is no file; name a PyTorch"):
            pytorch_file.read(path)


@pytest.mark.parametrize("name", ["zip", "legacy"])
def test_damage_anywhere_makes_one_error_or_none(tmp_path, name):
    whole = (FOLDER / f"{name}.pth").read_bytes()
    path = tmp_path / "a.pth"
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(200):
        content = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.2 else whole)
        for position in rng.integers(len(content) or 1, size=3):
            content[position : position + 1] = rng.bytes(1)
        try:
            pytorch_file.read(saved(path, content))
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(message.startswith(f"{path} ") for message in messages)
