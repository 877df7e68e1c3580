"""Checkpoints that PyTorch wrote, and files that nobody should trust."""

import argparse
import io
import os
import pickle
import time
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from hmsa_jax.weights import inert_pickle, pytorch_file, pytorch_pickle, state_dict
from tests.fixtures.arrays import FOLDER
from tests.fixtures.make_pth import expected

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


@pytest.mark.parametrize("name", ["zip", "legacy", "bare"])
def test_reads_what_pytorch_wrote(name):
    state = pytorch_file.read(FOLDER / f"{name}.pth")
    assert_equal(state, expected())
    assert np.shares_memory(state["module.shared.a"], state["module.shared.b"])


@BOTH_FORMATS
def test_reads_the_tensors_of_old_versions(tmp_path, format_bytes):
    content = pickled().replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
    assert_equal(pytorch_file.read(saved(tmp_path / "a.pth", format_bytes(content))), ARRAYS)


def nested(keys, arrays=ARRAYS):
    """The opcodes of a state dict under the keys, one mapping in another."""
    state = pytorch_pickle.dumps(arrays)[2:-1].removeprefix(b"}" + opcodes("state_dict"))[:-1]
    for key in reversed(keys):
        state = b"}" + opcodes(key) + state + b"s"
    return state


@pytest.mark.parametrize(
    "place",
    [
        "",
        "model",
        "net",
        "ema",
        "model_state_dict",
        "model_state",
        "model.state_dict",
        "net.module",
    ],
)
def test_the_state_dict_is_found(tmp_path, place):
    content = pickle.PROTO + b"\2" + nested(place.split(".") if place else []) + pickle.STOP
    state = pytorch_file.read(saved(tmp_path / "a.pth", zip_bytes(content)))
    assert_equal(state, ARRAYS)
    assert (state.place, list(state.others)) == (place, [])


def test_of_several_state_dicts_the_first_is_taken_and_the_others_are_told(tmp_path):
    ema = nested([], {"w": ARRAYS["w"]})
    content = pickled(ema=ema, model=nested(["net"], {"n": ARRAYS["n"]}))
    state = pytorch_file.read(saved(tmp_path / "a.pth", zip_bytes(content)))
    assert_equal(state, ARRAYS)
    assert (state.place, state.others) == ("state_dict", ["model.net", "ema"])


def dag(start, join):
    """The opcodes of a value that holds the one before twice, a hundred times over."""
    return start + (b"2" + join) * 100


TUPLES, LISTS = dag(b")", pickle.TUPLE2), dag(b"]", pickle.TUPLE2)
# Python's unpickler would hash or format these for ever, or end with the interpreter.
BOMBS = {
    "a key": b"}" + TUPLES + b"Ns",
    "a member": b"\x8f(" + TUPLES + b"\x90",
    "a huge key": b"}" + opcodes(1 << 80_000) + b"Ns",
    "a deep tuple": b")" + b"\x85" * 200_000,
    "a deep list": b"]" + b"]" * 100_000 + b"a" * 100_000,
    "a function's argument": b"ctorch._utils\n_rebuild_parameter\n" + TUPLES + b"\x85R",
}
DEADLY = {
    "a persistent id": LISTS + pickle.BINPERSID,
    "a storage's key": b"(" + opcodes("storage") + b"N" + TUPLES + b"NK\1t" + pickle.BINPERSID,
}


@BOTH_FORMATS
@pytest.mark.parametrize("case", [*BOMBS, *DEADLY])
def test_a_value_without_end_takes_no_time(tmp_path, format_bytes, case):
    bomb = BOMBS.get(case) or DEADLY[case]
    path = saved(tmp_path / "a.pth", format_bytes(pickled(bomb=bomb)))
    begin = time.monotonic()
    if case in DEADLY:
        with pytest.raises(ValueError, match=r"a\.pth is cut off or damaged"):
            pytorch_file.read(path)
    else:
        assert_equal(pytorch_file.read(path), ARRAYS)
    assert time.monotonic() - begin < 10


@BOTH_FORMATS
def test_a_size_without_end_takes_no_time(tmp_path, format_bytes):
    content = pickled().replace(opcodes((6,)), LISTS + b"2\x86", 1)
    path = saved(tmp_path / "a.pth", format_bytes(content))
    with pytest.raises(ValueError, match=r"a\.pth is damaged: tensor 'w' reaches out of"):
        pytorch_file.read(path)


@BOTH_FORMATS
def test_numbers_without_end_take_no_time(tmp_path, format_bytes):
    number = b"\x8b" + (2**22).to_bytes(4, "little") + b"\x7f" * 2**22
    three_twice = number + b"22" + pickle.TUPLE3 + b"2"
    content = pickled().replace(opcodes((6,)) + opcodes((1,)), three_twice, 1)
    path = saved(tmp_path / "a.pth", format_bytes(content))
    with pytest.raises(ValueError, match=r"a\.pth is damaged: tensor 'w' reaches out of"):
        pytorch_file.read(path)


def test_a_mapping_in_many_places_is_looked_at_once(tmp_path):
    mapping = nested([])
    for _ in range(3):
        places = b"".join(opcodes(key) + b"h\1" for key in state_dict.PLACES)
        mapping += b"q\x010}(" + places + b"u"
    content = pickle.PROTO + b"\2" + mapping + pickle.STOP
    state = pytorch_file.read(saved(tmp_path / "a.pth", zip_bytes(content)))
    assert_equal(state, ARRAYS)
    assert (state.place, state.others) == ("state_dict.state_dict.state_dict", [])


def test_what_is_nested_without_end_is_described_shortly(tmp_path):
    holds_itself = nested([]) + b"q\1" + opcodes("x") + b"h\1s"
    path = tmp_path / "a.pth"
    saved(path, zip_bytes(pickle.PROTO + b"\2" + holds_itself + pickle.STOP))
    with pytest.raises(ValueError, match=r"'n': a tensor, 'x': a mapping with a mapping among"):
        pytorch_file.read(path)


@pytest.mark.parametrize("name", ["a" * 600, "a\nb", "\x1b[31m"])
def test_names_are_short_and_printable(tmp_path, name):
    content = pickled(x=opcodes(name) + opcodes("f") + b"\x93")
    with pytest.raises(ValueError, match=r"a\.pth .*\(its pickle has a name that is none\)$"):
        pytorch_file.read(saved(tmp_path / "a.pth", zip_bytes(content)))


def test_the_pickles_of_a_file_share_their_work(tmp_path, monkeypatch):
    monkeypatch.setattr(inert_pickle, "MAX_WORK", 1000)
    idle = b"N0" * 300
    keys = pickle.dumps(list(storages_of()), protocol=2)
    once = legacy_bytes(pickled(x=idle + b"N"))
    assert_equal(pytorch_file.read(saved(tmp_path / "a.pth", once)), ARRAYS)
    twice = once.replace(keys, keys[:2] + idle + keys[2:])
    with pytest.raises(ValueError, match=r"b\.pth .*its pickle takes over 1000 steps"):
        pytorch_file.read(saved(tmp_path / "b.pth", twice))


@BOTH_FORMATS
def test_the_work_of_a_pickle_is_bounded(tmp_path, monkeypatch, format_bytes):
    monkeypatch.setattr(inert_pickle, "MAX_WORK", 10_000)
    pairs = b"](" + opcodes(("a", 1)) * 100 + b"e"
    copies = pairs + b"q\1" + b"ccollections\nOrderedDict\nh\1\x85R0" * 200
    path = saved(tmp_path / "a.pth", format_bytes(pickled(bomb=copies)))
    with pytest.raises(ValueError, match=r"a\.pth .*its pickle takes over 10000 steps"):
        pytorch_file.read(path)
    monkeypatch.setattr(inert_pickle, "MAX_BYTES", 1000)
    lie = pickled(bomb=b"\x8e" + (2**40).to_bytes(8, "little"))
    for content in (pickled(bomb=opcodes("a" * 2000)), lie):
        path = saved(tmp_path / "b.pth", format_bytes(content))
        with pytest.raises(ValueError, match=r"b\.pth .*(over 1000 bytes|too large|damaged)"):
            pytorch_file.read(path)


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, directory):
        self.directory = str(directory)

    def __reduce__(self):
        return os.mkdir, (self.directory,)


@BOTH_FORMATS
def test_nothing_in_the_file_is_executed(tmp_path, format_bytes):
    directory = tmp_path / "made"
    content = pickled(trap=opcodes(Trap(directory)))
    path = saved(tmp_path / "trap.pth", format_bytes(content))
    assert_equal(pytorch_file.read(path), ARRAYS)
    assert not directory.exists()
    pickle.loads(pickle.dumps(Trap(directory)))  # where pickles are executed, it does
    assert directory.exists()


class Nested:
    class Settings(dict):
        pass


@BOTH_FORMATS
def test_objects_beside_the_weights_are_harmless(tmp_path, format_bytes):
    objects = {
        "args": argparse.Namespace(arch="ocrnet"),
        "settings": Nested.Settings(crop=(1024, 2048)),
        "seen": {1, 2},
        "mean_iu": np.float64(0.85),
        "confusion": np.eye(3),
    }
    content = pickled(**{key: opcodes(value) for key, value in objects.items()})
    assert_equal(pytorch_file.read(saved(tmp_path / "a.pth", format_bytes(content))), ARRAYS)


def test_a_file_cannot_change_the_reader(tmp_path):
    rebuild = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    poison = rebuild + opcodes((None, {"__defaults__": (1,), "poison": 1})) + pickle.BUILD
    path = saved(tmp_path / "a.pth", zip_bytes(pickled(poison=poison)))
    assert_equal(pytorch_file.read(path), ARRAYS)
    assert pytorch_pickle._FUNCTIONS
    for function in pytorch_pickle._FUNCTIONS.values():
        assert function.__defaults__ is None
        assert not function.__dict__


@BOTH_FORMATS
def test_reads_no_more_than_the_state_dict(tmp_path, format_bytes):
    momentum = np.zeros(2**20, np.float32)
    entry = pytorch_pickle.dumps({"momentum": momentum})[2:-1]
    content = pickled(optimizer=entry.replace(opcodes("0"), opcodes("9")))
    storages = {"9": (momentum.size, momentum.tobytes()), **storages_of()}
    path = saved(tmp_path / "a.pth", format_bytes(content, storages))
    tracemalloc.start()
    state = pytorch_file.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_equal(state, ARRAYS)
    assert peak < momentum.nbytes / 8


def test_a_storage_that_is_not_needed_may_be_missing(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(FOLDER / "zip.pth") as whole, zipfile.ZipFile(path, "w") as part:
        momentum = [info for info in whole.infolist() if info.file_size == 60 * 4]
        for info in whole.infolist():
            if info not in momentum:
                part.writestr(info, whole.read(info))
    assert len(momentum) == 1
    assert_equal(pytorch_file.read(path), expected())


MALFORMED_TENSORS = {
    "size": (opcodes((6,)), opcodes((7,))),
    "stride": (opcodes((1,)), opcodes((2,))),
    "negative stride": (opcodes((1,)), opcodes((-1,))),
    "huge size, stride 0": (
        opcodes((6,)) + opcodes((1,)),
        opcodes((2**62, 2**62)) + opcodes((0, 0)),
    ),
    "rank": (opcodes((6,)), opcodes((2, 3))),
    "offset": (pickle.BINPERSID + opcodes(0), pickle.BINPERSID + opcodes(1)),
    "negative offset": (pickle.BINPERSID + opcodes(0), pickle.BINPERSID + opcodes(-1)),
    "no numbers": (opcodes((6,)), opcodes(("6",))),
}


@BOTH_FORMATS
@pytest.mark.parametrize("case", MALFORMED_TENSORS)
def test_a_tensor_stays_within_its_storage(tmp_path, format_bytes, case):
    found, replaced = MALFORMED_TENSORS[case]
    assert found in pickled()
    path = saved(tmp_path / "a.pth", format_bytes(pickled().replace(found, replaced)))
    with pytest.raises(ValueError, match=r"a\.pth is damaged: tensor 'w' reaches out of"):
        pytorch_file.read(path)


@BOTH_FORMATS
def test_a_storage_is_as_long_as_the_pickle_says(tmp_path, format_bytes):
    numel = opcodes(6) + pickle.TUPLE
    for claimed in (7, 2**40, 2**70):
        content = pickled().replace(numel, opcodes(claimed) + pickle.TUPLE)
        storages = storages_of() | {"0": (claimed % 2**63, ARRAYS["w"].tobytes())}
        path = saved(tmp_path / "a.pth", format_bytes(content, storages))
        with pytest.raises(ValueError, match=r"a\.pth is cut off or damaged"):
            pytorch_file.read(path)


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


def test_reads_what_it_wrote_and_writes_equal_bytes(tmp_path):
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path in paths:
        pytorch_file.write(path, ALL_DTYPES | ARRAYS)
    assert_equal(pytorch_file.read(paths[0]), ALL_DTYPES | ARRAYS)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_byte_order_is_converted(tmp_path):
    pytorch_file.write(tmp_path / "a.pth", {"w": ARRAYS["w"].astype(">f4")})
    assert_equal(pytorch_file.read(tmp_path / "a.pth"), {"w": ARRAYS["w"]})


def test_what_pytorch_cannot_store_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.pth: z is complex128; PyTorch stores float32"):
        pytorch_file.write(tmp_path / "a.pth", {"z": np.ones(2, complex)})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    pytorch_file.write(path, ARRAYS)
    write_record = zipfile.ZipFile.writestr

    def fails_at_the_second_storage(archive, info, data):
        if info.filename.endswith("data/1"):
            raise OSError("no space left")
        write_record(archive, info, data)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fails_at_the_second_storage)
    with pytest.raises(OSError, match="no space left"):
        pytorch_file.write(path, {"w": ARRAYS["n"], "n": ARRAYS["w"]})
    assert_equal(pytorch_file.read(path), ARRAYS)
    assert list(tmp_path.iterdir()) == [path]


def test_pytorch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    pytorch_file.write(tmp_path / "a.pth", ALL_DTYPES | ARRAYS)
    state = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"]
    arrays = {
        name: tensor.float().numpy().astype(ml_dtypes.bfloat16)
        if tensor.dtype == torch.bfloat16
        else tensor.numpy()
        for name, tensor in state.items()
    }
    assert_equal(arrays, ALL_DTYPES | ARRAYS)
