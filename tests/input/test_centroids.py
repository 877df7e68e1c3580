"""Centroids against plain numpy, and the file that keeps them."""

import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from hmsa_jax.input import centroids
from tests.input.memory_source import MemorySource, record

IGNORE = 255
NAMES = ("road", "tree", "car", "post", "sign")


def expected(label, tile, classes):
    """{(top, left, class): (row, column)} by the definition."""
    found = {}
    for top in range(0, label.shape[0], tile):
        for left in range(0, label.shape[1], tile):
            for number in range(classes):
                window = label[top : top + tile, left : left + tile]
                places = np.argwhere(window == number)
                if len(places):
                    row, column = (math.floor(mean + 0.5) for mean in places.mean(axis=0))
                    found[top, left, number] = (top + row, left + column)
    return found


def patchy_label(size, seed=0):
    """Blocks and single pixels of the classes 0, 1, 2 and 4, some ignored; 3 is absent."""
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 4, IGNORE], np.uint8)
    blocks = rng.choice(values, (-(-size[0] // 6), -(-size[1] // 6)))
    label = np.kron(blocks, np.ones((6, 6), np.uint8))[: size[0], : size[1]].copy()
    single = rng.random(size) < 0.05
    label[single] = rng.choice(values, single.sum())
    return label


class LabelSource(MemorySource):
    """Records of the given labels."""

    def __init__(self, labels, **fields):
        self._records = [
            {**record(np.zeros((*label.shape, 3), np.uint8), label, f"label-{i}"), **fields}
            for i, label in enumerate(labels)
        ]


LABELS = [patchy_label((40, 62)), patchy_label((9, 11), 1), patchy_label((16, 16), 2)]


def prepare(source, directory, *, split="train", tile=16, classes=NAMES):
    return centroids.prepare(source, directory, split=split, tile=tile, classes=classes)


def kept(directory):
    return sorted(directory.glob("*.npz"))


def assert_same(got, want):
    np.testing.assert_array_equal(got.places, want.places)
    np.testing.assert_array_equal(got.starts, want.starts)


def test_by_hand():
    label = np.full((4, 7), IGNORE, np.uint8)
    label[0, :3] = 1  # one row, centre 1
    label[3, 4] = label[3, 6] = 1  # in the second tile, which the border cuts off
    label[1:3, :2] = 0  # centre (1.5, 0.5), rounded up
    found = centroids.of_label(label, tile=4, classes=2)
    assert sorted(map(tuple, found)) == [(0, 2, 1), (1, 0, 1), (1, 3, 5)]


@pytest.mark.parametrize("tile", [1, 5, 16, 64])
@pytest.mark.parametrize("size", [(40, 62), (9, 11), (16, 32), (1, 30), (33, 1), (1, 1)])
def test_equals_plain_numpy(size, tile):
    label = patchy_label(size)
    found = centroids.of_label(label, tile=tile, classes=5)
    want = {(number, *place) for (_, _, number), place in expected(label, tile, 5).items()}
    assert len(found) == len(expected(label, tile, 5))
    assert set(map(tuple, found.tolist())) == want
    assert found.dtype == np.int32


def test_a_label_without_any_class():
    assert centroids.of_label(np.full((9, 9), IGNORE, np.uint8), tile=4, classes=3).shape == (0, 3)


def test_all_records_class_by_class(tmp_path):
    found = prepare(LabelSource(LABELS), tmp_path)
    for number in range(5):
        want = {
            (index, *place)
            for index, label in enumerate(LABELS)
            for (_, _, n), place in expected(label, 16, 5).items()
            if n == number
        }
        assert {tuple(place) for place in found.of_class(number).tolist()} == want
        assert len(found.of_class(number)) == len(want)
    assert found.occurring.tolist() == [0, 1, 2, 4]


def test_train_ids_apply(tmp_path):
    table = np.full(256, IGNORE, np.uint8)
    table[[1, 4]] = 0, 1
    found = prepare(LabelSource(LABELS, train_ids=table.tobytes()), tmp_path, classes=NAMES[:2])
    assert_same(
        found, prepare(LabelSource([table[x] for x in LABELS]), tmp_path, classes=("a", "b"))
    )
    assert len(kept(tmp_path)) == 2


def test_found_once(tmp_path):
    source = LabelSource(LABELS)
    first = prepare(source, tmp_path)
    for index in range(len(source)):
        source.replace(index, label=b"lost")  # finding would read it
    assert_same(prepare(source, tmp_path), first)
    assert first.places.dtype == np.int32


def test_whatever_counts_is_found_anew(tmp_path):
    source = LabelSource(LABELS)
    prepare(source, tmp_path)
    prepare(source, tmp_path, tile=8)
    prepare(source, tmp_path, split="train[:50%]")
    prepare(source, tmp_path, classes=NAMES[:4])
    prepare(LabelSource(LABELS[:2]), tmp_path)
    assert len(kept(tmp_path)) == 5


def test_another_way_to_find_them_finds_anew(tmp_path, monkeypatch):
    prepare(LabelSource(LABELS), tmp_path)
    monkeypatch.setattr(centroids, "_VERSION", centroids._VERSION + 1)
    prepare(LabelSource(LABELS), tmp_path)
    assert len(kept(tmp_path)) == 2


def _cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.write_bytes(data)


def _empty(path):
    path.write_bytes(b"")


def _other_arrays(path):
    np.savez(path, places=np.zeros((3, 3), np.int32))


def _too_few(path):
    with np.load(path) as file:
        np.savez(path, places=file["places"][:-1], starts=file["starts"])


def _no_such_record(path):
    with np.load(path) as file:
        np.savez(path, places=file["places"] + 3, starts=file["starts"])


@pytest.mark.parametrize(
    "damage", [_cut, _flip_a_bit, _empty, _other_arrays, _too_few, _no_such_record]
)
def test_a_damaged_file_is_written_anew(tmp_path, damage):
    source = LabelSource(LABELS)
    first = prepare(source, tmp_path)
    (path,) = kept(tmp_path)
    damage(path)
    assert_same(prepare(source, tmp_path), first)
    source.replace(0, label=b"lost")
    assert_same(prepare(source, tmp_path), first)  # this time from the file


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(file, **arrays):
        file.write(b"PK half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(LabelSource(LABELS), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    prepare(LabelSource(LABELS), tmp_path)
    assert len(kept(tmp_path)) == 1


def test_two_processes_find_them_once(tmp_path):
    program = textwrap.dedent("""
        import pathlib, sys
        from tests.input.test_centroids import LABELS, LabelSource, prepare
        print(len(prepare(LabelSource(LABELS * 50), pathlib.Path(sys.argv[1])).places))
    """)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "centroids")],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    count = str(len(prepare(LabelSource(LABELS * 50), tmp_path / "centroids").places))
    assert [printed.splitlines()[-1] for printed, _ in outputs] == [count, count], outputs
    assert sum("Finding the classes of train" in errors for _, errors in outputs) == 1


def test_classes_without_a_pixel_are_named(tmp_path, capsys):
    prepare(LabelSource(LABELS), tmp_path)
    assert "train has no pixel of: post." in capsys.readouterr().out
    prepare(LabelSource(LABELS), tmp_path, classes=NAMES[:3])
    assert capsys.readouterr().out == ""


def test_an_undecodable_label_is_named(tmp_path):
    source = LabelSource(LABELS).replace(1, label=b"broken")
    with pytest.raises(ValueError, match="record 'label-1', field 'label'"):
        prepare(source, tmp_path)
    assert not kept(tmp_path)


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split 'train': expected at least one record"):
        prepare(LabelSource([]), tmp_path)
