"""Checkpoints that PyTorch wrote, and files that nobody should trust."""

import argparse
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
from tests.weights.pytorch_bytes import (
    ALL_DTYPES,
    ARRAYS,
    BOTH_FORMATS,
    assert_equal,
    legacy_bytes,
    nested,
    opcodes,
    pickled,
    saved,
    storages_of,
    zip_bytes,
)


@pytest.mark.parametrize("name", ["zip", "legacy", "bare"])
def test_reads_what_pytorch_wrote(name):
    state = pytorch_file.read(FOLDER / f"{name}.pth")
    assert_equal(state, expected())
    assert np.shares_memory(state["module.shared.a"], state["module.shared.b"])


@BOTH_FORMATS
def test_reads_the_tensors_of_old_versions(tmp_path, format_bytes):
    content = pickled().replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
    assert_equal(pytorch_file.read(saved(tmp_path / "a.pth", format_bytes(content))), ARRAYS)


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
        with pytest.raises(ValueError, match=r"b\.pth .*(over 1000 bytes|1000 at most|damaged)"):
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
