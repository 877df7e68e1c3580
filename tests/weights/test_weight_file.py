import warnings

import ml_dtypes
import numpy as np
import pytest

from hmsa_jax.weights import pytorch_file, weight_file

ARRAYS = {
    "bfloat16": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "big-endian": np.arange(4, dtype=">f8"),
    "scalar": np.array(7, np.int64),
    "float16": np.ones((0, 3), np.float16),
    "uint8": np.array([255], np.uint8),
    "bool": np.array([True, False]),
}


def assert_equal(actual, desired):
    assert actual.keys() == desired.keys()
    for name, array in desired.items():
        assert actual[name].dtype == array.dtype.newbyteorder("="), name
        assert actual[name].shape == array.shape, name
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.pth.tar", "a.safetensors", "A.PTH"])
def test_reads_what_it_wrote(tmp_path, name):
    weight_file.write(tmp_path / name, ARRAYS)
    assert_equal(weight_file.read(str(tmp_path / name)), ARRAYS)


def test_the_suffix_says_the_format(tmp_path):
    weight_file.write(tmp_path / "a.pt", ARRAYS)
    assert_equal(pytorch_file.read(tmp_path / "a.pt"), ARRAYS)
    weight_file.write(tmp_path / "a.safetensors", ARRAYS)
    assert (tmp_path / "a.safetensors").read_bytes()[8:9] == b"{"


@pytest.mark.parametrize("name", ["a.npz", "a"])
def test_another_suffix_is_refused(tmp_path, name):
    message = rf"{name}: no format .* use \.pth, \.pt, \.bin, \.tar \(PyTorch\) or \.safetensors"
    with pytest.raises(ValueError, match=message):
        weight_file.read(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        weight_file.write(tmp_path / name, ARRAYS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{name} is no file; name a"):
        weight_file.read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty, no \.safetensors file"),
        (b"<html>Not found</html>", "is text, such as the page that a failed download leaves"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\0", "is a PNG image"),
        (b"PK\3\4\0\0\0\0\0\0", "is not readable: "),
        (b"\2\0\0\0\0\0\0\0{}..", "is not readable: "),
    ],
)
def test_an_error_says_what_the_file_is(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} {message}.*; download or copy it again$"):
        weight_file.read(path)


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    weight_file.write(path, ARRAYS)
    whole = path.read_bytes()
    for length in (4, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.safetensors is .*; download or copy it again"):
            weight_file.read(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    weight_file.write(path, ARRAYS)
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be written: "):
        weight_file.write(path, {"text": np.array(["a"])})
    assert_equal(weight_file.read(path), ARRAYS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused(tmp_path, name, value):
    path = tmp_path / name
    arrays = ARRAYS | {f"w{i}": np.array([0, value], np.float64) for i in range(7)}
    weight_file.write(path, arrays)
    listed = r"w0, w1, w2, w3, w4 and 2 more \(not finite in float32\)"
    with pytest.raises(ValueError, match=rf"^{path} holds values that .*: {listed}\. The training"):
        weight_file.read(path)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_names_can_be_printed(tmp_path, name):
    path = tmp_path / name
    weight_file.write(path, {"w\x1b[31m\n": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match=r"is damaged: it holds a tensor named 'w\\x1b\[31m\\n'"):
        weight_file.read(path)


def header(text, data=b""):
    return len(text).to_bytes(8, "little") + text.encode() + data


ENTRY = '"w": {{"dtype": "{}", "shape": [2], "data_offsets": [0, {}]}}'
F32 = ENTRY.format("F32", 8)
HEADERS = {
    "too long": (header(" " * 2**22 + "{}"), "is not readable: its header has over 4194304 bytes"),
    "a lie": ((2**60).to_bytes(8, "little") + b"{}", "is not readable: its header has over"),
    "a name twice": (header(f"{{{F32}, {F32}}}", bytes(8)), "a name stands twice in its header"),
    "nested": (header("[" * 2**21), "is not readable: "),
    "float8": (
        header(f"{{{ENTRY.format('F8_E4M3', 2)}}}", bytes(2)),
        "holds what NumPy cannot; save it as float32",
    ),
    "more than it holds": (header(f"{{{F32}}}", bytes(4)), "is not readable: "),
    "beyond its end": (
        header(f"{{{F32}}}".replace("[0, 8]", "[8000, 8008]"), bytes(8)),
        "is not readable: ",
    ),
    "a shape of more": (
        header(f"{{{F32}}}".replace("[2]", "[200]"), bytes(8)),
        "is not readable: ",
    ),
    "a long dtype": (header(f"{{{ENTRY.format('X' * 10**6, 8)}}}", bytes(8)), "is not readable: "),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_lies_is_refused_shortly(tmp_path, case):
    content, message = HEADERS[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path} .*{message}") as error:
        weight_file.read(path)
    assert len(str(error.value)) < 500


def test_complex_weights_are_left_to_the_network(tmp_path):
    path = tmp_path / "a.safetensors"
    weight_file.write(path, {"w": np.array([1j, np.nan], np.complex64)})
    with warnings.catch_warnings(action="error"):
        assert weight_file.read(path)["w"].dtype == np.complex64


def test_a_variance_below_zero_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    weight_file.write(path, {"bn.running_var": np.array([1, -1], np.float32)})
    with pytest.raises(ValueError, match=r": bn\.running_var \(a variance below 0\)"):
        weight_file.read(path)
