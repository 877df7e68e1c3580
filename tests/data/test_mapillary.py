"""Mapillary Vistas from small trees of the owners' layouts, with configs of the tests' own."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from data import mapillary, registry
from hmsa_jax.input import decoding
from hmsa_jax.input.whole_images import eval_batches
from tests.data import pictures

COUNTS = {1: 66, 2: 124}
LARGE = (3000, 2000)


def write_config(path, count, evaluated=lambda n, count: n < count - 1):
    labels = [
        {
            "name": f"group--label-{n}",
            "readable": f"Label {n}",
            "color": [n, 255 - n, 7],
            "evaluate": evaluated(n, count),
            "instances": False,
        }
        for n in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"labels": labels, "version": 1, "mapping": "public"}))


def write_image(root, folder, name, size=pictures.SIZE):
    pictures.write_image(root / folder / "images" / f"{name}.jpg", size)


def write_label(root, labels, name, count, size=pictures.SIZE):
    pixels = pictures.label(f"{labels}{name}", range(count), size)
    pictures.write_palette(root / labels / f"{name}.png", pixels)


@pytest.fixture
def small(monkeypatch):
    """Small pictures have the long edge already."""
    monkeypatch.setattr(mapillary, "LONG_EDGE", max(pictures.SIZE))


@pytest.fixture
def tree(tmp_path):
    """Version 1.2 as it is delivered by itself."""
    root = tmp_path / "vistas"
    write_config(root / "config.json", 66)
    for folder, names in (("training", "abc"), ("validation", "d")):
        for name in names:
            write_image(root, folder, name)
            write_label(root, f"{folder}/labels", name, 66)
    write_image(root, "testing", "e")
    return root


@pytest.fixture
def both(tree):
    """Version 2.0, which has the labels of v1.2 beside its own."""
    (tree / "config.json").rename(tree / "config_v1.2.json")
    write_config(tree / "config_v2.0.json", 124, lambda n, count: n % 16 != 15)
    for folder, names in (("training", "abc"), ("validation", "d")):
        (tree / folder / "v1.2").mkdir()
        (tree / folder / "labels").rename(tree / folder / "v1.2" / "labels")
        for name in names:
            write_label(tree, f"{folder}/v2.0/labels", name, 124)
    return tree


def prepare(root, name="mapillary_v1"):
    return registry.prepare(name, str(root), str(root.parent / "cache"))


def assert_labels(source, labels, count, table):
    for record in source:
        raw = pictures.label(f"{labels}{record['id']}", range(count))
        np.testing.assert_array_equal(decoding.decode(record)[1], np.array(table)[raw])


def test_classes_come_from_the_config(tree):
    dataset = registry.get("mapillary_v1", str(tree))
    assert dataset.classes == tuple(f"Label {n}" for n in range(65))
    assert dataset.label_spec.palette[64] == (64, 191, 7)
    assert list(dataset.label_spec.train_ids) == [*range(65), *[255] * 191]


@pytest.mark.usefixtures("small")
def test_version_1(tree):
    builder = prepare(tree)
    lengths = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert lengths == {"train": 3, "validation": 1, "test": 1}
    source = registry.open_source(builder, "train")
    assert [record["id"] for record in source] == list("abc")
    assert source[0]["image"] == (tree / "training/images/a.jpg").read_bytes()
    assert_labels(source, "training/labels", 66, [*range(65), 255])
    (record,) = registry.open_source(builder, "test")
    assert (decoding.decode(record)[1] == 255).all()


@pytest.mark.usefixtures("small")
def test_void_as_a_class_shares_the_records(tree):
    builder, other = prepare(tree), prepare(tree, "mapillary_v1_66")
    assert other.data_dir == builder.data_dir
    dataset = registry.get("mapillary_v1_66", str(tree))
    assert len(dataset.classes) == 66
    assert dataset.classes[65] == "Label 65"
    assert_labels(registry.open_source(other, "train"), "training/labels", 66, range(66))
    (record,) = registry.open_source(other, "test")
    assert (decoding.decode(record)[1] == 255).all()


@pytest.mark.usefixtures("small")
def test_version_2_beside_version_1(both):
    evaluated = [n for n in range(124) if n % 16 != 15]
    table = [evaluated.index(n) if n in evaluated else 255 for n in range(124)]
    classes = registry.get("mapillary_v2", str(both)).classes
    assert len(classes) == len(evaluated) == 117
    assert_labels(
        registry.open_source(prepare(both, "mapillary_v2"), "validation"),
        "validation/v2.0/labels",
        124,
        table,
    )
    source = registry.open_source(prepare(both), "train")
    for record in source:
        raw = pictures.label(f"training/labels{record['id']}", range(66))
        np.testing.assert_array_equal(pictures.decode(record["label"]), raw)


@pytest.mark.usefixtures("small")
def test_batches(tree):
    source = registry.open_source(prepare(tree), "train+validation")
    batches = list(eval_batches(source, batch_size=2, ignore_label=255))
    assert sum(batch["valid"].sum() for batch in batches) == 4
    assert np.unique(batches[0]["label"]).tolist() == [*range(65), 255]


def test_large_images_are_reduced(tree):
    """A grey wedge whose label is a staircase: after the reduction, both still agree."""
    height = LARGE[0]
    levels = np.broadcast_to(np.arange(height)[:, None] * 66 // height, LARGE).astype(np.uint8)
    image = np.repeat(levels[..., None] * 3, 3, axis=-1)
    cv2.imwrite(str(tree / "validation/images/d.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    pictures.write_palette(tree / "validation/labels/d.png", levels)
    (record,) = registry.open_source(prepare(tree, "mapillary_v1_66"), "validation")
    image, label = decoding.decode(record)
    assert image.shape == (2177, 1451, 3)
    assert np.abs(image[..., 0] / 3 - label).mean() < 0.1
    counts = np.bincount(label[:, 0], minlength=66)
    assert counts.min() >= 32  # 2177 / 66 = 33
    assert counts.max() <= 34


def test_a_thin_line_survives_the_reduction(tree):
    image = np.zeros((60, 6000, 3), np.uint8)
    image[:, 3001] = 255
    cv2.imwrite(str(tree / "testing/images/e.png"), image)
    (tree / "testing/images/e.jpg").unlink()
    (record,) = registry.open_source(prepare(tree), "test")
    reduced, label = decoding.decode(record)
    assert reduced.shape == (*label.shape, 3) == (22, 2177, 3)
    # Of its light nothing is lost: 255 over a factor of 6000 / 2177.
    np.testing.assert_allclose(reduced[..., 1].astype(int).sum(1), 255 * 2177 / 6000, atol=25)


def test_small_images_are_enlarged(tree, monkeypatch):
    """As by Pillow, but for OpenCV's sharper kernel: of noise nothing else would be left."""
    monkeypatch.setattr(mapillary, "LONG_EDGE", 90)
    (record,) = registry.open_source(prepare(tree, "mapillary_v1_66"), "validation")
    image, label = decoding.decode(record)
    assert image.shape == (*label.shape, 3) == (60, 90, 3)
    with Image.open(tree / "validation/images/d.jpg") as original:
        expected = np.asarray(original.resize((90, 60), Image.Resampling.BICUBIC)).astype(int)
    assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.98
    raw = Image.fromarray(pictures.label("validation/labelsd", range(66)))
    np.testing.assert_array_equal(label, raw.resize((90, 60), Image.Resampling.NEAREST))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2177, 5), (2177, 5)),
        ((3264, 4354), (1632, 2177)),
        ((1080, 1920), (1225, 2177)),  # smaller ones are enlarged
    ],
)
def test_scaled_size(size, expected):
    assert mapillary.scaled_size(*size) == expected


def test_what_is_wrong_is_listed(tree):
    write_image(tree, "training", "f")
    write_label(tree, "validation/labels", "d", 90)
    with pytest.raises(FileNotFoundError) as error:
        prepare(tree)
    assert "1 image without a label: " in str(error.value)
    assert "labels/d.png holds 66, " in str(error.value)
    assert "Expected 0..65: " in str(error.value)


def test_names_that_are_repeated_are_told_apart(tree):
    path = tree / "config.json"
    content = json.loads(path.read_text())
    for number in (1, 3):
        content["labels"][number]["readable"] = "Lane Marking"
    path.write_text(json.dumps(content))
    names = mapillary.read_config(path, void_is_class=False).names
    assert names[:4] == ("Label 0", "Lane Marking (1)", "Label 2", "Lane Marking (3)")


def test_what_is_left_out_is_kept_with_the_data_set(tree):
    for name in ("training/images/x.tif", "training/labels/.y.png", "testing/images/z.bmp"):
        (tree / name).touch()
    (tree / "testing/images/turned.jpg").write_bytes(pictures.jpeg(pictures.image("t"), 8))
    builder = prepare(tree)
    assert {
        "1 image turned as EXIF says",
        "1 file left out, hidden",
        "2 files left out, of another suffix or name",
    } < set(builder.found.remarks)
    turned = registry.open_source(builder, "test")[1]
    image, label = decoding.decode(turned)
    assert image.shape == (*label.shape, 3)
    assert image.shape[0] > image.shape[1]


def test_a_large_image_is_turned_before_it_is_reduced(tree):
    pixels = cv2.resize(pictures.image("t", (3, 5)), (3000, 1800))
    (tree / "validation/images/d.jpg").write_bytes(pictures.jpeg(pixels, 6))
    label = np.zeros((3000, 1800), np.uint8)
    pictures.write_palette(tree / "validation/labels/d.png", label)
    (record,) = registry.open_source(prepare(tree), "validation")
    image, label = decoding.decode(record)
    assert image.shape[:2] == label.shape == (2177, 1306)
    expected = cv2.resize(np.rot90(pixels, -1), (1306, 2177), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 3


def test_no_config(tree):
    with pytest.raises(FileNotFoundError, match=r"no config_v2\.0\.json in it"):
        prepare(tree, "mapillary_v2")
    (tree / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no config_v1\.2\.json or config\.json"):
        prepare(tree)


@pytest.mark.parametrize(
    "text", ["no JSON", "{}", '{"labels": [{"readable": "Bird"}]}', '{"labels": []}']
)
def test_a_config_of_another_form(tree, text):
    (tree / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: expected .*file of the owners"):
        prepare(tree)


def test_no_images(tmp_path):
    write_config(tmp_path / "vistas" / "config.json", 66)
    with pytest.raises(FileNotFoundError, match=r"no image in training/images"):
        prepare(tmp_path / "vistas")
