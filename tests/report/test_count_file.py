import numpy as np
import pytest

from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import count_file
from hmsa_jax.report.count_file import Origin

COUNTS = np.arange(2 * 1 * 3 * 3, dtype=np.int32).reshape(2, 1, 3, 3)
CONFUSIONS = ImageConfusions(("a/1", "ü"), ("single (1)",), ("road", "sky", "it's"), COUNTS)
ORIGIN = Origin("folder/val[:10%]", 70)
KIND = {"flip": True, "classes": ["road", "ü"]}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "val[:10%]-70.npz"
    count_file.write(path, ORIGIN, CONFUSIONS, KIND)
    assert count_file.read_origin(path) == ORIGIN
    assert count_file.read_kind(path) == KIND
    got = count_file.read(path)
    assert (got.images, got.protocols, got.classes) == (
        CONFUSIONS.images,
        CONFUSIONS.protocols,
        CONFUSIONS.classes,
    )
    assert got.counts.dtype == np.int32
    np.testing.assert_array_equal(got.counts, COUNTS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_leaves_what_was_there(tmp_path, full_disk):
    path = tmp_path / "val-70.npz"
    path.write_bytes(b"before")
    with full_disk(100), pytest.raises(OSError, match="val-70"):
        count_file.write(path, ORIGIN, CONFUSIONS, KIND)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def spoil(path):
    data = bytearray(path.read_bytes())
    middle = data.index(b"confusion.npy") + 60
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)


def replace(path, **arrays):
    with np.load(path) as before:
        arrays = {**before, **arrays}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        spoil,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("{}"),
        lambda path: np.savez(path, images=["a"]),
        lambda path: replace(path, images=np.array(["a/1"])),
        lambda path: replace(path, confusion=COUNTS.astype(float)),
        lambda path: replace(path, images=np.array([b"a", None], object)),
    ],
)
def test_what_is_damaged_is_named(tmp_path, damage):
    path = tmp_path / "val-70.npz"
    count_file.write(path, ORIGIN, CONFUSIONS, KIND)
    damage(path)
    with pytest.raises(ValueError, match=r"val-70\.npz is damaged, or holds no counts.*again"):
        count_file.read(path)
