"""What is kept beside a built data set: its pixels, remarks, and whether it is whole."""

import json

import numpy as np
import pytest

from data import built, registry
from data.label_spec import LabelSpec
from tests.data import pictures
from tests.data.test_folder import CLASSES, prepare, write_classes, write_pair

LABEL_SPEC = LabelSpec.of_raw_values(("floor", "wall", "box"), [(0, 0, 0)] * 3, (7, 3, 0), (1, 255))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "mine"
    write_classes(root, CLASSES)
    for name in "abc":
        write_pair(root, "train", name)
    write_pair(root, "validation", "d")
    pictures.write_image(root / "images/test/e.png")
    (root / "images/train/f.tif").touch()
    return root


def test_pixels_and_remarks_are_kept(tree):
    first, again = prepare(tree), prepare(tree)
    assert first.found == again.found
    labels = np.concatenate([pictures.label(name, (7, 3, 0, 1, 255)).ravel() for name in "abc"])
    expected = [int((labels == value).sum()) for value in (7, 3, 0)]
    assert again.found.class_pixels("train[:10%]", LABEL_SPEC).tolist() == expected
    both = again.found.class_pixels("train+validation", LABEL_SPEC)
    assert (both > expected).all()
    assert again.found.class_pixels("test", LABEL_SPEC).tolist() == [0, 0, 0]
    assert again.found.class_pixels("other", LABEL_SPEC) is None
    assert again.found.remarks == ["1 file left out, of another suffix or name"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "empty", "no findings", "nested"])
def test_a_damaged_cache_is_built_anew(tree, damage, capfd):
    builder = prepare(tree)
    expected = list(registry.open_source(builder, "train"))
    (records,) = builder.data_path.glob("*train*array_record*")
    found = builder.data_path / "found.json"
    if damage == "cut":
        records.write_bytes(records.read_bytes()[:-100])
    elif damage == "flipped":
        data = bytearray(records.read_bytes())
        data[len(data) // 2] ^= 1
        records.write_bytes(data)
    elif damage == "gone":
        records.unlink()
    elif damage == "empty":
        (builder.data_path / "dataset_info.json").write_text("")
    elif damage == "no findings":
        found.unlink()
    else:
        found.write_text("[" * 100_000)
    again = prepare(tree)
    assert list(registry.open_source(again, "train")) == expected
    assert again.found == builder.found
    assert "is damaged; it is built anew." in capfd.readouterr().err


def test_a_record_that_cannot_be_read_names_what_to_delete(tree):
    """Large files are compared by size alone; then reading them finds it."""
    builder = prepare(tree)
    source = registry.open_source(builder, "train")
    (records,) = builder.data_path.glob("*train*array_record*")
    data = bytearray(records.read_bytes())
    data[200:-200] = bytes(len(data) - 400)
    records.write_bytes(data)
    with pytest.raises(ValueError, match=rf"record \d .*delete {builder.data_path}, it is built"):
        list(source)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ([0, 0, 0], "no class has a pixel, so that there is nothing to learn"),
        ([0, 9, 0], "only the class 'wall' has pixels, so that there is nothing to learn"),
    ],
)
def test_why_nothing_is_learnt(pixels, reason):
    why = built.why_nothing_is_learnt(np.int64(pixels), LABEL_SPEC)
    assert why.startswith(reason)
    assert "Labels may hold 0..1, 3, 7 and 255, of which 1, 255 belong to no class" in why
    assert built.why_nothing_is_learnt(np.int64([1, 0, 1]), LABEL_SPEC) == ""
    assert built.absent(np.int64([1, 0, 1]), LABEL_SPEC) == ["wall"]


def test_counts_are_whole_numbers():
    """More pixels than float32 or int32 count."""
    found = built.Found()
    label = np.zeros(256, np.int64)
    label[7] = 2**31 + 1
    for _ in range(3):
        found.add("train", label)
    found = built.Found(**json.loads(json.dumps({"pixels": found.pixels, "remarks": []})))
    assert found.class_pixels("train", LABEL_SPEC).tolist() == [3 * (2**31 + 1), 0, 0]
