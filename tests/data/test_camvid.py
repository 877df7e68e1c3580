"""CamVid from a directory: reading, rebuilding, and an error for everything that can be wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data import camvid, checks, registry

REAL = Path(__file__).parents[2] / ".." / "shared" / "camvid"
SIZE = (24, 36)


def write_pair(root, folder, name, label=None, mode="P"):
    """Writes a random image and its label; returns both."""
    rng = np.random.default_rng(list(name.encode()))
    image = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    if label is None:
        label = rng.choice(np.uint8([*range(11), 255]), SIZE)
    for kind in ("images", "labels"):
        (root / kind / folder).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / folder / f"{name}.jpg"), image)
    picture = Image.fromarray(label)
    if mode == "P":
        picture = Image.frombytes("P", picture.size, label.tobytes())
        # Colours that are no indices: who converts them, fails.
        picture.putpalette(np.arange(768)[::-1].astype(np.uint8).tobytes())
    picture.save(root / "labels" / folder / f"{name}.png")
    return image, label


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "camvid"
    for folder, count in (("train", 3), ("val", 2), ("test", 1)):
        for i in range(count):
            write_pair(root, folder, f"{folder}{i}")
    return root


def build(tree):
    return registry.prepare("camvid", str(tree), str(tree.parent / "cache"))


def decode(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def test_reads_back_raw_indices_and_the_original_jpeg(tree):
    _, grey = write_pair(tree, "val", "grey", mode="L")
    _, palette = write_pair(tree, "val", "palette")
    source = registry.open_source(build(tree), "validation")
    records = {record["id"]: record for record in source}
    assert list(records) == ["grey", "palette", "val0", "val1"]
    for name, label in (("grey", grey), ("palette", palette)):
        stored = decode(records[name]["label"])
        assert stored.dtype == np.uint8
        np.testing.assert_array_equal(stored, label)
        assert records[name]["image"] == (tree / f"images/val/{name}.jpg").read_bytes()


def test_splits(tree):
    builder = build(tree)
    lengths = {split: len(registry.open_source(builder, split)) for split in builder.info.splits}
    assert lengths == {"train": 3, "validation": 2, "test": 1}


def test_an_unchanged_directory_is_not_read_again(tree, monkeypatch):
    first = build(tree)
    monkeypatch.setattr(checks, "inspect", None)  # building would call it
    assert build(tree).data_dir == first.data_dir


def test_a_changed_directory_is_built_anew(tree):
    first = build(tree)
    _, label = write_pair(tree, "train", "train0", np.full(SIZE, 7, np.uint8))
    second = build(tree)
    assert second.data_dir != first.data_dir
    np.testing.assert_array_equal(decode(registry.open_source(second, "train")[0]["label"]), label)
    write_pair(tree, "train", "train9")
    assert len(registry.open_source(build(tree), "train")) == 4


def test_a_missing_folder(tree):
    for path in (tree / "labels/val").iterdir():
        path.unlink()
    (tree / "labels/val").rmdir()
    with pytest.raises(FileNotFoundError, match=r"labels/val.*data\.dir") as error:
        build(tree)
    assert "images" not in str(error.value)


def test_an_empty_split(tree):
    for kind in ("images", "labels"):
        for path in (tree / kind / "test").iterdir():
            path.unlink()
    with pytest.raises(FileNotFoundError, match=r"images/test: no image"):
        build(tree)


def test_images_without_labels_are_counted_and_five_are_named(tree):
    for i in range(7):
        write_pair(tree, "train", f"alone{i}")
        (tree / f"labels/train/alone{i}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"7 images without a label") as error:
        build(tree)
    message = str(error.value)
    assert "alone4.jpg and 2 more" in message
    assert "alone5" not in message


def test_a_label_without_an_image(tree):
    (tree / "images/val/val1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 label without an image: .*val1\.png"):
        build(tree)


def test_an_image_cut_short(tree):
    path = tree / "images/train/train1.jpg"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"1 file unreadable: .*train1\.jpg"):
        build(tree)


def test_a_label_that_is_no_picture(tree):
    (tree / "labels/test/test0.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"1 file unreadable: .*test0\.png.*replace"):
        build(tree)


def test_a_label_in_colours(tree):
    Image.new("RGB", SIZE[::-1]).save(tree / "labels/test/test0.png")
    with pytest.raises(ValueError, match=r"test0\.png .*mode 'RGB'.*grey or palette"):
        build(tree)


def test_a_label_of_another_size(tree):
    Image.new("L", (36, 20)).save(tree / "labels/val/val0.png")
    with pytest.raises(ValueError, match=r"val0\.jpg 36x24, .*val0\.png 36x20"):
        build(tree)


def test_a_value_that_is_no_class(tree):
    label = np.full(SIZE, 3, np.uint8)
    label[0, :2] = 11, 200
    write_pair(tree, "test", "test0", label)
    with pytest.raises(ValueError, match=r"test0\.png holds 11, 200\..*0\.\.10 and 255"):
        build(tree)


def test_an_error_leaves_no_data_set_behind(tree):
    path = tree / "labels/test/test0.png"
    good = path.read_bytes()
    path.write_text("not a picture")
    with pytest.raises(ValueError, match="unreadable"):
        build(tree)
    assert not list((tree.parent / "cache").rglob("*.array_record*"))
    path.write_bytes(good)
    assert len(registry.open_source(build(tree), "test")) == 1


@pytest.mark.parametrize("names", [["Sky", "Road"], None])
def test_class_names_that_disagree(tree, names):
    (tree / "classes.json").write_text(json.dumps({"names": names} if names else {}))
    with pytest.raises(ValueError, match=r"classes\.json.*names"):
        build(tree)


def test_class_names_that_agree_in_another_case(tree):
    (tree / "classes.json").write_text(json.dumps({"names": [n.title() for n in camvid.CLASSES]}))
    assert build(tree).is_prepared()


@pytest.mark.skipif(not REAL.is_dir(), reason=f"CamVid is not at {REAL}")
def test_the_real_data_set(tmp_path):
    builder = registry.prepare("camvid", str(REAL), str(tmp_path))
    published = json.loads((REAL / "classes.json").read_text())
    lengths = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert lengths == {"train": 367, "validation": 101, "test": 233}
    counts = np.zeros(256, np.int64)
    for record in registry.open_source(builder, "validation"):
        counts += np.bincount(decode(record["label"]).ravel(), minlength=256)
    assert counts[:11].tolist() == published["pixel_counts"]["val"]["classes"]
    assert counts[255] == published["pixel_counts"]["val"]["void"]
    assert counts[11:255].sum() == 0
