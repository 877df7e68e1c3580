"""Data of one's own: images, masks and a list of classes, and an error for all that is wrong."""

import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from configs import street_scenes
from data import folder, registry
from hmsa_jax.experiment import experiment
from hmsa_jax.input import decoding
from hmsa_jax.input.whole_images import eval_batches
from tests.data import pictures

CLASSES = {
    "classes": [
        {"name": "floor", "color": [10, 20, 30], "id": 7},
        {"name": "wall", "id": 3},
        {"name": "[box]", "id": 0},
    ],
    "ignore": [1, 255],
}
TRAIN_IDS = {7: 0, 3: 1, 0: 2, 1: 255, 255: 255}


def write_classes(root, content):
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps(content))


def write_pair(root, split, name, suffix=".jpg", write=pictures.write_grey, size=pictures.SIZE):
    pictures.write_image(root / "images" / split / f"{name}{suffix}", size)
    pixels = pictures.label(name, TRAIN_IDS, size)
    write(root / "masks" / split / f"{name}.png", pixels)
    return pixels


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "mine"
    write_classes(root, CLASSES)
    write_pair(root, "train", "a")
    write_pair(root, "train", "room/b", ".png", pictures.write_palette, (30, 20))
    write_pair(root, "train", "room/c", ".jpeg")
    write_pair(root, "validation", "d")
    return root


def prepare(root):
    return registry.prepare("folder", str(root), str(root.parent / "cache"))


def test_classes_come_from_the_directory(tree):
    dataset = registry.get("folder", str(tree))
    assert dataset.classes == ("floor", "wall", "[box]")
    assert len(dataset.classes) == 3
    assert dataset.label_spec.palette[0] == (10, 20, 30)
    assert {raw: dataset.label_spec.train_ids[raw] for raw in TRAIN_IDS} == TRAIN_IDS
    assert dataset.needs_dir


def test_a_network_has_a_channel_for_each_class(tree):
    config = street_scenes.get_config()
    config.data.name, config.data.dir = "folder", str(tree)
    config.model.trunk = "tiny"
    assert experiment.assemble(config).architecture.classes == 3


def test_reads_images_and_masks_of_all_forms(tree):
    builder = prepare(tree)
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 3,
        "validation": 1,
    }
    source = registry.open_source(builder, "train")
    assert [record["id"] for record in source] == ["a", "room/b", "room/c"]
    for record, size in zip(source, (pictures.SIZE, (30, 20), pictures.SIZE), strict=True):
        image, label = decoding.decode(record)
        assert image.shape == (*size, 3)
        raw = pictures.label(record["id"], TRAIN_IDS, size)
        np.testing.assert_array_equal(label, np.vectorize(TRAIN_IDS.get)(raw))


def test_batches(tree):
    source = registry.open_source(prepare(tree), "train+validation")
    batches = list(eval_batches(source, batch_size=2, ignore_label=255))
    assert sum(batch["valid"].sum() for batch in batches) == 4
    assert {int(v) for batch in batches for v in np.unique(batch["label"])} == {0, 1, 2, 255}


def test_test_images_may_go_without_masks(tree):
    pictures.write_image(tree / "images/test/e.png")
    (record,) = registry.open_source(prepare(tree), "test")
    assert (decoding.decode(record)[1] == 255).all()


def test_test_images_with_masks(tree):
    write_pair(tree, "test", "e")
    write_pair(tree, "test", "f")
    assert len(registry.open_source(prepare(tree), "test")) == 2
    (tree / "masks/test/f.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 image without a label: .*test/f\.jpg"):
        prepare(tree)


def test_other_classes_build_anew(tree):
    first = prepare(tree)
    write_classes(tree, {**CLASSES, "ignore": [1, 2, 255]})
    assert prepare(tree).data_dir != first.data_dir


def test_every_problem_of_the_files_is_listed(tree):
    pictures.write_image(tree / "images/train/alone.jpg")
    pictures.write_image(tree / "images/train/a.png")
    pictures.write_grey(tree / "masks/train/room/other.png", np.zeros((3, 3), np.uint8))
    pictures.write_grey(tree / "masks/validation/d.png", np.full(pictures.SIZE, 9, np.uint8))
    with pytest.raises(FileNotFoundError) as error:
        prepare(tree)
    for text in (
        "1 image without a label: ",
        "1 label without an image: ",
        "1 file of another's name: ",
        "masks/validation/d.png holds 9. Expected 0..1, 3, 7 and 255: ",
        "classes.json",
    ):
        assert text in str(error.value)


def test_a_mask_of_another_depth(tree):
    Image.new("1", pictures.SIZE[::-1]).save(tree / "masks/train/a.png")
    with pytest.raises(ValueError, match=r"1 file unreadable: .*a\.png \(.*mode '1'"):
        prepare(tree)


def test_folders_that_are_no_split(tree):
    (tree / "images/val").mkdir()
    with pytest.raises(
        ValueError, match=r"images/val: expected only the folders train, validation"
    ):
        prepare(tree)


def test_no_images(tmp_path):
    write_classes(tmp_path / "mine", CLASSES)
    with pytest.raises(FileNotFoundError, match=r"no image in images/"):
        prepare(tmp_path / "mine")


def test_no_class_list(tree):
    (tree / "classes.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"classes\.json is missing"):
        registry.get("folder", str(tree))


def test_no_directory():
    with pytest.raises(ValueError, match=r"data\.dir=DIR.*data/folder\.py"):
        registry.get("folder")


def test_numbers_are_positions_and_colours_are_distinct_by_default(tmp_path):
    write_classes(tmp_path, {"classes": [{"name": str(n)} for n in range(60)]})
    label_spec = folder.read_classes(tmp_path / "classes.json")
    assert label_spec.values == (*range(60), 255)
    assert list(label_spec.table) == [*range(60), *[255] * 196]
    assert len(set(label_spec.palette)) == 60
    assert label_spec == folder.read_classes(tmp_path / "classes.json")


WRONG = {
    "no list": ({}, r'"classes": expected a list'),
    "not an object": ([1], "expected an object"),
    "no class": ({"classes": []}, r'"classes": expected a list of 1 to 255'),
    "another field": ({**CLASSES, "ignored": [3]}, r'"ignored": no such field'),
    "no name": ({"classes": [{"id": 3}]}, r'\[0\]: "name" is None'),
    "a class as text": ({"classes": ["road"]}, "expected objects"),
    "name twice": ({"classes": [{"name": "a"}, {"name": "a"}]}, r'\[1\]: "name" is .a., as of'),
    "id twice": ({"classes": [{"name": "a", "id": 1}, {"name": "b"}]}, r'\[1\]: "id" is 1, as in'),
    "id is ignored": ({"classes": [{"name": "a", "id": 255}]}, r'"id" is 255, as in "ignore"'),
    "id too large": ({"classes": [{"name": "a", "id": 256}]}, r'"id" is 256; expected a number'),
    "colour": ({"classes": [{"name": "a", "color": [1, 2, 300]}]}, r'"color" is .*expected \[red'),
    "misspelt": ({"classes": [{"name": "a", "colour": [1, 2, 3]}]}, r'"colour" is no field'),
    "ignore": ({"classes": [{"name": "a"}], "ignore": 255}, r'"ignore" is 255; expected a list'),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_class_list_is_refused(tmp_path, case):
    content, message = WRONG[case]
    write_classes(tmp_path, content)
    with pytest.raises(ValueError, match=rf"classes\.json cannot be used[^$]*{message}"):
        folder.read_classes(tmp_path / "classes.json")


def test_a_class_list_that_is_no_json(tmp_path):
    (tmp_path / "classes.json").write_text("road, sky")
    with pytest.raises(ValueError, match=r"classes\.json: expected JSON"):
        folder.read_classes(tmp_path / "classes.json")


def test_a_class_list_with_a_byte_order_mark(tmp_path):
    (tmp_path / "classes.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(CLASSES).encode())
    assert folder.read_classes(tmp_path / "classes.json").names == ("floor", "wall", "[box]")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"classes": ' + b"[" * 500 + b"]" * 500 + b"}", "expected objects"),
        (b'{"a": "' + b"x" * 2**20 + b'"}', "at most 1048576 bytes"),
        ('{"classes": [{"name": "straße"}]}'.encode("latin-1"), "JSON in UTF-8"),
        (b'{"classes": [{"name": "\\ud800"}]}', "expected a line of text"),
        (b'{"classes": [{"name": "a\\nb"}]}', "expected a line of text"),
    ],
    ids=["deep", "less deep", "huge", "latin-1", "surrogate", "newline"],
)
def test_a_class_list_that_means_harm(tmp_path, content, message):
    (tmp_path / "classes.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"classes\.json[^$]*{message}") as error:
        folder.read_classes(tmp_path / "classes.json")
    assert len(str(error.value)) < 1000


def test_build_and_check_refuse_the_same(tree):
    """What Pillow reads and the decoder of training does not."""
    short = pictures.png_claiming(36, 24, bytes(37 * 10))
    (tree / "images/train/room/b.png").write_bytes(short)
    with pytest.raises(ValueError, match=r"1 file unreadable: .*room/b\.png \(OpenCV cannot"):
        prepare(tree)


def test_linked_folders_are_part_of_the_set(tree, tmp_path):
    for kind in ("images", "masks"):
        (tree / kind / "train/room").rename(tmp_path / f"{kind}-elsewhere")
        (tree / kind / "train/room").symlink_to(tmp_path / f"{kind}-elsewhere")
    source = registry.open_source(prepare(tree), "train")
    assert [record["id"] for record in source] == ["a", "room/b", "room/c"]


def test_images_of_a_blank_split_are_as_displayed(tree):
    path = tree / "images/test/e.jpg"
    path.parent.mkdir()
    path.write_bytes(pictures.jpeg(pictures.image("e"), 6))
    (record,) = registry.open_source(prepare(tree), "test")
    image, label = decoding.decode(record)
    assert image.shape[:2] == label.shape == pictures.SIZE[::-1]


def test_names_of_any_script(tmp_path):
    names = ["道路", "सड़क", "क्‍ष", "a\u00a0b", "🚗"]
    write_classes(tmp_path, {"classes": [{"name": name} for name in names]})
    assert folder.read_classes(tmp_path / "classes.json").names == tuple(names)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_the_digest_is_of_images_and_of_masks(tmp_path, kind):
    def digest(root):
        return registry.prepare("folder", str(root), str(tmp_path / "cache")).found.digest

    write_classes(tmp_path / "mine", CLASSES)
    write_pair(tmp_path / "mine", "train", "a", ".png")
    copy = shutil.copytree(tmp_path / "mine", tmp_path / "copy")
    path = copy / f"{kind}s" / "train" / "a.png"
    cv2.imwrite(str(path), np.roll(cv2.imread(str(path), -1), 1, 0))
    assert digest(copy) != digest(tmp_path / "mine")


def test_the_digest_is_of_the_splits(tmp_path):
    digests = set()
    for cut in (1, 2):
        root = tmp_path / f"{cut}"
        write_classes(root, CLASSES)
        for i, name in enumerate("abc"):
            write_pair(root, "train" if i < cut else "validation", name)
        digests.add(registry.prepare("folder", str(root), str(tmp_path / "cache")).found.digest)
    assert len(digests) == 2
