"""Weights of PaddlePaddle are read without it, and what is none or damaged is told in one line."""

import os
import pathlib
import pickle

import numpy as np
import pytest

from hmsa_jax.weights import weight_file
from tests.weights.pytorch_bytes import opcodes, zip_bytes

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) - 200.5,
    "linear.weight": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "bn._mean": np.array([-1.5, np.pi], np.float64),
    "half": np.array([0.5], np.float16),
    "empty": np.ones((0, 3), np.float32),
    "scalar": np.array(7, np.int64),
    "bool": np.array([True, False]),
    "uint8": np.array([0, 255], np.uint8),
}
TABLE = {"StructuredToParameterName@@": {"conv.weight": "conv2d_0.w_0"}}


def saved(path, content):
    path.write_bytes(content)
    return path


def dumped(content, protocol=2):
    """As `paddle.save` does: it pickles arrays in a plain dict."""
    return pickle.dumps(content, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_reads_what_paddle_saves(tmp_path, protocol, module):
    content = dumped(ARRAYS | TABLE, protocol)
    if protocol < 4 or len(module) == 22:  # in protocol 4 a name has its length before it
        content = content.replace(b"numpy._core.multiarray", module)
    got = weight_file.read(saved(tmp_path / "a.pdparams", content))
    assert got.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array, err_msg=name, strict=True)


class Runs:
    """Its pickle makes a directory when Python loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_it_is_executed(tmp_path):
    made = tmp_path / "made"
    path = saved(tmp_path / "a.pdparams", dumped(ARRAYS | {"w": Runs(made)}))
    with pytest.raises(ValueError, match=r"a\.pdparams holds no state dict, but a mapping \("):
        weight_file.read(path)
    assert not made.exists()
    pickle.loads(dumped(Runs(made)))
    assert made.exists()


def array(shape=(2, 3), code="f4", content=None, order="<", kind=b"cnumpy\nndarray\n"):
    """The opcodes of one array, as NumPy pickles it in protocol 3."""
    content = bytes(24) if content is None else content
    dtype = b"cnumpy\ndtype\n" + opcodes((code, False, True)) + b"R"
    dtype += opcodes((3, order, None, None, None, -1, -1, 0)) + b"b"
    state = b"(" + opcodes(1) + opcodes(shape) + dtype + b"\x89"
    state += b"B" + len(content).to_bytes(4, "little") + content + b"t"
    return b"cnumpy.core.multiarray\n_reconstruct\n" + kind + b"K\0\x85C\1b\x87R" + state + b"b"


def file_of(*values):
    entries = b"".join(opcodes(f"w{i}") + value for i, value in enumerate(values))
    return b"\x80\3}(" + entries + b"u."


def encoded(encoding):
    return b"c_codecs\nencode\n" + opcodes(("a" * 24, encoding)) + b"R"


ENCODES = b"c_codecs\nencode\nh\1" + opcodes("latin1") + b"\x86R0"
WHOLE = dumped(ARRAYS | TABLE)
DAMAGED = "is cut off or damaged, or it is no .pdparams file"
UNREADABLE = {
    "empty": (b"", r"is empty, no \.pdparams file"),
    "html": (b"<html>Not found</html>", "is text, such as the page that a failed download"),
    "a PyTorch file": (zip_bytes(), r"is of another format, no \.pdparams file"),
    "cut off at once": (WHOLE[:5], DAMAGED),
    "cut off in the middle": (WHOLE[: len(WHOLE) // 2], DAMAGED),
    "cut off at the end": (WHOLE[:-1], DAMAGED),
    "a list": (
        dumped([1, 2]),
        "holds no state dict, but an object of type list; save it in Paddle",
    ),
    "nothing": (dumped({}), "holds no state dict, but an empty mapping"),
    "only the table": (dumped(TABLE), "holds no state dict, but a mapping"),
    "a number": (file_of(opcodes(3)), r"holds no state dict, but a mapping \('w0': an object of"),
    "numbered": (dumped({1: np.ones(2)}), "holds no state dict, but a mapping"),
    "nested": (
        dumped({"model": ARRAYS}),
        r"no state dict, but a mapping \('model': a mapping of 8",
    ),
    "more than it holds": (file_of(array((200, 300))), "other bytes than its shape asks for"),
    "beyond all memory": (file_of(array((2**62, 2**62))), "other bytes than its shape asks for"),
    "less than it holds": (file_of(array((2, 2))), "other bytes than its shape asks for"),
    "a size below 0": (file_of(array((-2, -3))), "no possible shape"),
    "a size that is none": (file_of(array((2.0, 3))), "no possible shape"),
    "too many sizes": (file_of(array((1,) * 40)), "without shape or type"),
    "objects": (dumped({"w": np.array([{}], object)}), "an array of it holds no numbers"),
    "text": (dumped({"w": np.array(["a"])}), "an array of it holds no numbers"),
    "big-endian": (file_of(array(order=">")), "on a big-endian machine"),
    "another class": (file_of(array(kind=b"cos\nsystem\n")), "an array of another kind"),
    "no bytes": (file_of(array().replace(b"B\x18\0\0\0" + bytes(24), b"N")), "no possible shape"),
    "no state": (
        file_of(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R"),
        "an array without values",
    ),
    "a state that is none": (file_of(array()[:-1] + b"0Nb"), DAMAGED),
    "another encoding": (
        file_of(array().replace(b"B\x18\0\0\0" + bytes(24), encoded("rot13"))),
        "it encodes what no array is",
    ),
    "many of one": (
        file_of(array((600,), content=bytes(2400)) + b"q\1", *[b"h\1"] * 99),
        "its arrays have over 4 times the size of the file",
    ),
    "many encoded": (
        b"\x80\2" + opcodes("a" * 4000) + b"q\1" + ENCODES * 3 + b".",
        "its arrays have more bytes than it",
    ),
    "a persistent id": (file_of(b"(tQ"), "it refers to what is beside it"),
    "a length that lies": (b"\x80\4\x8e" + (2**60).to_bytes(8, "little") + b"a", DAMAGED),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_is_no_state_dict_is_one_error(tmp_path, case):
    content, message = UNREADABLE[case]
    path = saved(tmp_path / "a.pdparams", content)
    with pytest.raises(ValueError, match=rf"^{path} .*{message}") as error:
        weight_file.read(path)
    assert len(str(error.value)) < 500


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.pdparams is no file; name weights of Paddle"):
        weight_file.read(tmp_path / "a.pdparams")


def test_values_that_no_network_has_are_refused(tmp_path):
    arrays = {"bn._variance": np.array([1, -1], np.float32), "w": np.array([np.nan], np.float32)}
    path = saved(tmp_path / "a.pdparams", dumped(arrays))
    with pytest.raises(ValueError, match=r"w \(not finite.*; bn\._variance \(a variance below 0"):
        weight_file.read(path)


def test_it_is_not_written(tmp_path):
    path = pathlib.Path(tmp_path / "a.pdparams")
    with pytest.raises(ValueError, match=r"suffix '\.pdparams'; use \.pth"):
        weight_file.write(path, ARRAYS)
    assert not path.exists()
