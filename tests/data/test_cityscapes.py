"""Cityscapes from small trees of the owners' layout: unpacked, nested, zipped, and broken."""

import multiprocessing

import numpy as np
import pytest
from absl import flags
from PIL import Image
from tensorflow_datasets.core import shuffle

import data.builder
from data import checks, registry
from hmsa_jax.input import decoding
from hmsa_jax.input.pipeline import train_batches
from hmsa_jax.input.whole_images import eval_batches
from tests.data import pictures

# Stated apart from the builder: the label ids of the 19 train ids, and some names among them.
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
NAMED = {0: "road", 5: "pole", 7: "traffic sign", 10: "sky", 13: "car", 16: "train", 18: "bicycle"}
COLOURED = {0: (128, 64, 128), 6: (250, 170, 30), 11: (220, 20, 60), 18: (119, 11, 32)}

CITIES = {"train": "aachen", "val": "ulm", "test": "bonn", "train_extra": "erfurt"}


def write_pair(root, folder, number, kind=None, values=range(34)):
    name = f"{CITIES[folder]}_{number:06d}_000019"
    place = f"{folder}/{CITIES[folder]}"
    image = root / f"leftImg8bit/{place}/{name}_leftImg8bit.png"
    pictures.write_image(image)
    if kind is None:
        return image, None
    label = root / f"{kind}/{place}/{name}_{kind}_labelIds.png"
    pictures.write_grey(label, pictures.label(label.name, values))
    # What else the owners put beside it.
    pictures.write_grey(label.with_name(f"{name}_{kind}_color.png"), np.zeros((2, 2), np.uint8))
    return image, label


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "cityscapes"
    for folder, count in (("train", 3), ("val", 2)):
        for number in range(count):
            write_pair(root, folder, number, "gtFine")
    for number in range(2):
        write_pair(root, "test", number)
    return root


def prepare(root, name="cityscapes"):
    return registry.prepare(name, str(root), str(root.parent / "cache"))


def lengths(builder):
    return {split: len(registry.open_source(builder, split)) for split in builder.info.splits}


def assert_records(root_of_files, builder, split, folder, kind):
    """The records hold the bytes of the files."""
    source = registry.open_source(builder, split)
    for record in source:
        place = root_of_files / folder, CITIES[folder], record["id"]
        for field, what in (("image", "leftImg8bit"), ("label", f"{kind}_labelIds")):
            top = "leftImg8bit" if field == "image" else kind
            path = root_of_files / top / folder / place[1] / f"{record['id']}_{what}.png"
            assert record[field] == path.read_bytes()


def test_the_table_of_train_ids():
    dataset = registry.get("cityscapes")
    expected = [255] * 256
    for train_id, label_id in enumerate(EVALUATED):
        expected[label_id] = train_id
    assert list(dataset.label_spec.train_ids) == expected
    assert {i: dataset.classes[i] for i in NAMED} == NAMED
    assert {i: dataset.label_spec.palette[i] for i in COLOURED} == COLOURED
    assert registry.get("cityscapes_coarse").classes == dataset.classes


def test_reads_back_the_bytes_of_the_files_in_order(tree):
    builder = prepare(tree)
    assert lengths(builder) == {"train": 3, "validation": 2, "test": 2}
    assert_records(tree, builder, "train", "train", "gtFine")
    assert_records(tree, builder, "validation", "val", "gtFine")
    ids = [record["id"] for record in registry.open_source(builder, "train")]
    assert ids == [f"aachen_{number:06d}_000019" for number in range(3)]


def test_the_stored_records_have_the_keys_of_tfds(tree):
    builder = prepare(tree)
    assert set(builder.info.features) == {"image_left", "segmentation_label", "image_id"}


def test_splits_can_be_added_and_cut(tree):
    builder = prepare(tree)
    both = registry.open_source(builder, "train+validation")
    assert [r["id"][:3] for r in both] == ["aac"] * 3 + ["ulm"] * 2
    assert len(registry.open_source(builder, "train[:1]")) == 1
    with pytest.raises(ValueError, match=r"no split 'train\+val', expected one of: train \(3"):
        registry.open_source(builder, "train+val")


def test_labels_are_decoded_to_train_ids(tree):
    source = registry.open_source(prepare(tree), "validation")
    for record in source:
        image, label = decoding.decode(record)
        raw = pictures.decode(record["label"])
        assert set(np.unique(raw)) > {0, 7, 33}
        expected = np.full_like(raw, 255)
        for train_id, label_id in enumerate(EVALUATED):
            expected[raw == label_id] = train_id
        np.testing.assert_array_equal(label, expected)
        np.testing.assert_array_equal(image, pictures.image(f"{record['id']}_leftImg8bit.png"))


def test_test_images_are_ignored_everywhere(tree):
    # The owners' archive has files for them that hold no classes.
    write_pair(tree, "test", 0, "gtFine", values=[7])
    for record in registry.open_source(prepare(tree), "test"):
        image, label = decoding.decode(record)
        assert label.shape == image.shape[:2]
        assert (label == 255).all()


def test_batches_of_evaluation_hold_train_ids(tree):
    source = registry.open_source(prepare(tree), "train+validation")
    batches = list(eval_batches(source, batch_size=4, ignore_label=255))
    assert sum(batch["valid"].sum() for batch in batches) == 5
    seen = np.unique(np.concatenate([batch["label"].ravel() for batch in batches]))
    assert seen.tolist() == [*range(19), 255]


def test_workers_decode_to_train_ids(tree):
    flags.FLAGS.mark_as_parsed()
    source = registry.open_source(prepare(tree), "train")
    batches = train_batches(
        source,
        batch_size=3,
        crop_size=pictures.SIZE,
        scale_range=(1.0, 1.0),
        flip=False,
        ignore_label=255,
        seed=0,
        start_step=0,
        num_workers=1,
    )
    values = np.unique(next(batches)["label"])
    batches.close()
    assert values.tolist() == [*range(19), 255]
    assert not multiprocessing.active_children()


def pack_all(tree):
    pictures.pack(tree / "leftImg8bit_trainvaltest.zip", tree, ["leftImg8bit"])
    pictures.pack(tree / "gtFine_trainvaltest.zip", tree, ["gtFine"])


@pytest.mark.parametrize("form", ["nested", "zipped", "half zipped"])
def test_other_forms_hold_the_same(tree, form):
    expected = {
        split: list(registry.open_source(prepare(tree), split))
        for split in ("train", "validation", "test")
    }
    if form == "nested":
        for kind in ("leftImg8bit", "gtFine"):
            (tree / f"{kind}_trainvaltest").mkdir()
            (tree / kind).rename(tree / f"{kind}_trainvaltest" / kind)
    elif form == "zipped":
        pack_all(tree)
    else:
        pictures.pack(tree / "gtFine_trainvaltest.zip", tree, ["gtFine"])
    builder = prepare(tree)
    assert {s: list(registry.open_source(builder, s)) for s in expected} == expected


def test_nothing_is_unpacked(tree):
    pack_all(tree)
    before = sorted(path for path in tree.rglob("*") if path.is_file())
    prepare(tree)
    assert sorted(path for path in tree.rglob("*") if path.is_file()) == before


def test_coarse_labels(tree):
    for number in range(3):
        write_pair(tree, "train_extra", number, "gtCoarse")
    write_pair(tree, "train", 0, "gtCoarse")
    write_pair(tree, "train", 1, "gtCoarse")
    (tree / "gtCoarse/val").mkdir()
    (tree / "leftImg8bit/train/aachen/aachen_000002_000019_leftImg8bit.png").unlink()
    builder = prepare(tree, "cityscapes_coarse")
    assert lengths(builder) == {"train": 2, "train_extra": 3}
    assert_records(tree, builder, "train_extra", "train_extra", "gtCoarse")
    assert_records(tree, builder, "train", "train", "gtCoarse")


def test_coarse_labels_zipped(tree):
    for number in range(2):
        write_pair(tree, "train_extra", number, "gtCoarse")
    pictures.pack(tree / "leftImg8bit_trainextra.zip", tree, ["leftImg8bit/train_extra"])
    pictures.pack(tree / "gtCoarse.zip", tree, ["gtCoarse"])
    builder = prepare(tree, "cityscapes_coarse")
    assert lengths(builder) == {"train_extra": 2}
    assert lengths(prepare(tree)) == {"train": 3, "validation": 2, "test": 2}


def test_labels_without_their_images_are_another_download(tree):
    write_pair(tree, "train_extra", 0, "gtCoarse")[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"no split of cityscapes_coarse.*found 7 images"):
        prepare(tree, "cityscapes_coarse")


def test_only_the_splits_that_are_there_are_built(tree):
    for path in [*tree.glob("*/train/*/*"), *tree.glob("*/test/*/*")]:
        path.unlink()
    assert lengths(prepare(tree)) == {"validation": 2}


def test_an_unchanged_directory_is_not_read_again(tree, monkeypatch):
    first = prepare(tree)
    write_pair(tree, "train_extra", 0, "gtCoarse")  # of the other data set
    monkeypatch.setattr(checks, "inspect", None)  # building would call it
    assert prepare(tree).data_dir == first.data_dir


@pytest.mark.parametrize("zipped", [False, True])
def test_a_changed_directory_is_built_anew(tree, zipped):
    if zipped:
        pack_all(tree)
    first = prepare(tree)
    if zipped:
        (tree / "gtFine_trainvaltest.zip").touch()
    else:
        write_pair(tree, "train", 7, "gtFine")
    assert prepare(tree).data_dir != first.data_dir


def test_an_empty_directory(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected leftImg8bit/ and gtFine/.*data\.dir"):
        prepare(tmp_path / "none")


def test_an_archive_cut_short(tree):
    pack_all(tree)
    path = tree / "gtFine_trainvaltest.zip"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"gtFine_trainvaltest\.zip.*fetch it again"):
        prepare(tree)


def test_a_damaged_member_of_an_archive_is_named(tree):
    pack_all(tree)
    path = tree / "gtFine_trainvaltest.zip"
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"aachen_000001_000019_gtFine_labelIds.png") + 200
    damaged[at : at + 50] = bytes(50)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"1 file unreadable: .*zip/gtFine/train/.*_000001_000019"):
        prepare(tree)


def test_an_image_that_only_its_checksum_gives_away(tree):
    image, label = write_pair(tree, "train", 9, "gtFine")
    pictures.write_image(image, (200, 300))
    pictures.write_grey(label, np.full((200, 300), 7, np.uint8))
    pack_all(tree)
    path = tree / "leftImg8bit_trainvaltest.zip"
    damaged = bytearray(path.read_bytes())
    at = damaged.index(b"aachen_000009_000019_leftImg8bit.png") + 150_000
    damaged[at : at + 50] = bytes(50)
    path.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"1 file unreadable: .*aachen_000009_000019_leftImg8bit\.png \(Bad CRC"
    ):
        prepare(tree)
    assert not list((tree.parent / "cache").rglob("dataset_info.json"))


def test_everything_that_is_wrong_is_listed_together(tree):
    write_pair(tree, "train", 3, "gtFine")[1].unlink()
    write_pair(tree, "train", 4, "gtFine")[0].unlink()
    image, _ = write_pair(tree, "train", 5, "gtFine")
    image.write_bytes(image.read_bytes()[:-40])
    write_pair(tree, "train", 6, "gtFine")[1].write_text("no picture")
    _, label = write_pair(tree, "val", 7, "gtFine")
    Image.new("L", (36, 20)).save(label)
    write_pair(tree, "val", 8, "gtFine", values=[7, 34, 255])
    with pytest.raises(FileNotFoundError) as error:
        prepare(tree)
    for text in (
        "1 image without a label: ",
        "aachen_000003_000019_leftImg8bit.png. Expected",
        "1 label without an image: ",
        "aachen_000004_000019_gtFine_labelIds.png. Expected",
        "2 files unreadable: ",
        "aachen_000005_000019_leftImg8bit.png (",
        "aachen_000006_000019_gtFine_labelIds.png (",
        "1 pair of unequal size: ",
        "ulm_000007_000019_leftImg8bit.png 36x24",
        "ulm_000007_000019_gtFine_labelIds.png 36x20",
        "ulm_000008_000019_gtFine_labelIds.png holds 34, 255. Expected 0..33: ",
    ):
        assert text in str(error.value)
    assert not list((tree.parent / "cache").rglob("*.array_record*"))


def test_images_without_any_label(tree):
    for path in tree.glob("gtFine/val/*/*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"2 images without a label: .*ulm_000000"):
        prepare(tree)


def test_records_over_several_files_keep_their_order(tree, monkeypatch):
    monkeypatch.setattr(data.builder, "_RECORDS_PER_FILE", 2)
    monkeypatch.setattr(data.builder, "_RECORDS_AT_ONCE", 3)
    # As if it were over a gigabyte, for which the way of TFDS would need TensorFlow.
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 0)
    for number in range(3, 7):
        write_pair(tree, "train", number, "gtFine")
    builder = prepare(tree)
    assert len(builder.info.splits["train"].shard_lengths) == 4
    ids = [record["id"] for record in registry.open_source(builder, "train")]
    assert ids == [f"aachen_{number:06d}_000019" for number in range(7)]
