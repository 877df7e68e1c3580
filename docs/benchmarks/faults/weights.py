"""Files of weights that are damaged, or made to do harm."""

import functools
import io
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

from faults import damage
from faults.bench import Bench
from faults.trial import Trial
from hmsa_jax.weights import state_dict, weight_file

_GIBIBYTES = 0.5
_SECONDS = 5
_DEEP = 200_000


def read(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """Read as it was written, or refused with its path, in seconds and little memory."""
    tensors = {f"layer{i}.weight": rng.normal(size=(8, 3, 3)).astype(np.float32) for i in range(20)}
    for number in range(count):
        if number % 4 == 3:
            make = _BOMBS[number // 4 % len(_BOMBS)]
            path = bench.place() / f"weights{'.safetensors' if make in _HEADERS else '.pth'}"
            make(path)
            fault = make.__name__.strip("_").replace("_", " ")
        else:
            path = bench.place() / f"weights{('.pth', '.safetensors')[number % 2]}"
            weight_file.write(path, tensors)
            fault = f"{path.suffix}: {_hurt(path, rng)}"
        ran = bench.isolated(functools.partial(_read, path, tensors), _GIBIBYTES, _SECONDS)
        yield Trial(fault, ran.trouble(str(path)), ran.output)


def convert(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """`convert --from` refuses values that are not finite, names that are absent, and shapes."""
    tensors = weight_file.read(bench.weights)
    names = sorted(name for name, array in tensors.items() if array.dtype == np.float32)
    for number in range(count):
        place = bench.place()
        path, workdir = place / f"weights{('.pth', '.safetensors')[number % 2]}", place / "run"
        changed, name = dict(tensors), names[rng.integers(len(names))]
        fault = ("nan", "inf", "absent", "another shape")[number % 4]
        if fault == "absent":
            del changed[name]
        elif fault == "another shape":
            changed[name] = np.zeros((*tensors[name].shape, 2), np.float32)
        else:
            changed[name] = np.array(tensors[name])
            changed[name].flat[rng.integers(changed[name].size)] = float(fault)
        weight_file.write(path, changed)
        flags = (f"--from={path}", f"--workdir={workdir}")
        ran = bench.call(bench.arguments("convert", *flags))
        trouble = ran.trouble(str(path), statuses=(1,)) or _left(workdir)
        yield Trial(f"{fault}: {name}", trouble, ran.output)


def _left(workdir: pathlib.Path) -> str:
    return "the work directory was made" if workdir.exists() else ""


def _read(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    """In a child: reads, and compares where the names are those that were written."""
    try:
        found = weight_file.read(path)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    if found.keys() == tensors.keys():  # others are found where they have to fit a network
        for name, array in tensors.items():
            if found[name].shape == array.shape:
                np.testing.assert_array_equal(found[name], array, err_msg=name)


def _hurt(path: pathlib.Path, rng: np.random.Generator) -> str:
    """Damages a file; in .safetensors its header, for the format has no sum of what follows."""
    if path.suffix == ".pth":
        return damage.hurt(path, rng)
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    if rng.random() < 0.3:
        path.write_bytes(damage.cut(data, rng))
        return "cut"
    path.write_bytes(damage.flipped(data, rng, 0, end))
    return "flipped header"


def _zip(path: pathlib.Path, pickled: bytes) -> None:
    """A checkpoint with this pickle, and one storage of 24 bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/data/0", bytes(24))


def _text(text: str) -> bytes:
    """Opcodes of a text."""
    return b"X" + struct.pack("<L", len(text)) + text.encode()


def _tensor(size_and_stride: bytes) -> bytes:
    """Opcodes of a tensor in the storage that `_zip` writes."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + b"NK\x06tQ"
    arguments = b"(" + storage + b"K\x00" + size_and_stride + b"NNt"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _doubled(times: int) -> bytes:
    """Opcodes of a tuple of two of the same tuple, and so on."""
    return b"K\x01" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(times))


def _key_that_takes_for_ever_to_hash(path):
    _zip(path, b"\x80\x02}" + _doubled(60) + b"K\x01s.")


def _persistent_id_that_fills_memory(path):
    _zip(path, b"\x80\x02" + _doubled(60) + b"Q.")


def _tuple_that_is_deep(path):
    _zip(path, b"\x80\x02)" + b"\x85" * _DEEP + b".")


def _list_that_is_deep(path):
    _zip(path, b"\x80\x02" + b"]" * _DEEP + b"a" * (_DEEP - 1) + b".")


def _zip_that_unpacks_to_gibibytes(path):
    zeros = io.BytesIO()
    with (
        zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as record,
    ):
        for _ in range(128):
            record.write(bytes(2**24))
    path.write_bytes(zeros.getvalue())


def _directory_of_a_million_records(path):
    entry = b"PK\1\2".ljust(46, b"\0")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, len(entry) * 10**6, 4, 0)
    path.write_bytes(b"PK\3\4" + entry * 10**6 + end)


def _mapping_in_every_place(path):
    tensors = b"".join(_text(str(i)) + b"h\x09" for i in range(100_000))
    pickled = b"\x80\x02" + _tensor(b"))") + b"q\x090}(" + tensors + _text("none") + b"Nu"
    for number in range(3):
        again = b"".join(_text(key) + b"h%c" % number for key in state_dict.PLACES)
        pickled += b"q%c0}(" % number + again + b"u"
    _zip(path, pickled + b".")


def _size_that_is_slow_to_multiply(path):
    number = b"\x8b" + struct.pack("<L", 2**22) + b"\x7f" * 2**22
    _zip(path, b"\x80\x02}" + _text("weight") + _tensor(number + b"22\x872") + b"s.")


def _pickle_that_calls(path):
    path.write_bytes(b"\x80\x02cos\nsystem\n(S'true'\ntR.")


def _legacy_file_of_other_keys(path):
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, [[1]])
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts))


def _header_of_exbibytes(path):
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def _header_of_a_million_names(path):
    entry = '"{}": {{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}'
    header = "{" + ", ".join(entry.format(i) for i in range(10**6)) + "}"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())


_HEADERS = (_header_of_exbibytes, _header_of_a_million_names)
_BOMBS = (
    *_HEADERS,
    *(_key_that_takes_for_ever_to_hash, _persistent_id_that_fills_memory, _tuple_that_is_deep),
    *(_list_that_is_deep, _zip_that_unpacks_to_gibibytes, _pickle_that_calls),
    *(_legacy_file_of_other_keys, _directory_of_a_million_records),
    *(_mapping_in_every_place, _size_that_is_slow_to_multiply),
)
