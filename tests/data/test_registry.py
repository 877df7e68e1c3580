"""Data sets by name: building street scenes, the cache, and wrong arguments."""

import inspect
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import camvid, cityscapes, registry
from data.builder import SegmentationBuilder
from data.pixels import encode_image
from data.street_scenes import data_set, painter

ROOT = Path(__file__).parents[2]
FEW = {"train": 3, "validation": 2}


@pytest.fixture
def few_scenes(monkeypatch):
    monkeypatch.setattr(data_set, "SIZES", FEW)


def decode(encoded, flags=cv2.IMREAD_UNCHANGED):
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)


def test_street_scenes_read_back_as_painted(few_scenes, tmp_path):
    builder = registry.prepare("street_scenes", None, str(tmp_path))
    for split, size in FEW.items():
        source = registry.open_source(builder, split)
        assert len(source) == size
        for index, record in enumerate(source):
            image, label = painter.paint(data_set.SEED, split, index)
            assert record.keys() == {"image", "label", "id"}
            assert record["id"] == f"{split}-{index:04d}"
            assert record["image"] == encode_image(image)
            np.testing.assert_array_equal(decode(record["label"]), label)
            error = np.abs(decode(record["image"])[..., ::-1].astype(int) - image)
            assert error.mean() < 3  # JPEG, in RGB order


def test_a_built_data_set_is_reused(few_scenes, tmp_path, monkeypatch):
    first = registry.prepare("street_scenes", None, str(tmp_path))
    monkeypatch.setattr(painter, "paint", None)  # building would call it
    assert registry.prepare("street_scenes", None, str(tmp_path)).data_dir == first.data_dir


def test_another_painter_builds_anew(few_scenes, tmp_path, monkeypatch):
    first = registry.prepare("street_scenes", None, str(tmp_path))
    monkeypatch.setattr(painter, "VERSION", painter.VERSION + 1)
    assert registry.prepare("street_scenes", None, str(tmp_path)).data_dir != first.data_dir


def test_an_interrupted_build_leaves_nothing_to_read(few_scenes, tmp_path, monkeypatch):
    paint = painter.paint

    def interrupted(seed, split, index):
        if (split, index) == ("validation", 1):
            raise KeyboardInterrupt
        return paint(seed, split, index)

    monkeypatch.setattr(painter, "paint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.prepare("street_scenes", None, str(tmp_path))
    monkeypatch.setattr(painter, "paint", paint)
    builder = registry.prepare("street_scenes", None, str(tmp_path))
    assert len(registry.open_source(builder, "validation")) == FEW["validation"]


def test_what_a_killed_build_left_is_removed(few_scenes, tmp_path):
    builder = registry.prepare("street_scenes", None, str(tmp_path))
    data_dir = Path(builder.data_dir)
    left = data_dir.with_name("incomplete.ABC_1.0.0")
    data_dir.rename(left)
    registry.prepare("street_scenes", None, str(tmp_path))
    assert not left.exists()
    assert data_dir.exists()


def test_a_source_travels_to_a_spawned_worker(few_scenes, tmp_path):
    source = registry.open_source(
        registry.prepare("street_scenes", None, str(tmp_path)), "validation"
    )
    (tmp_path / "source").write_bytes(pickle.dumps(source))
    program = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb'))[1]['id'])"
    printed = _python(program, str(tmp_path / "source"))[0].communicate()[0]
    assert printed.strip() == "validation-0001"


def test_two_processes_build_once_and_without_tensorflow(tmp_path):
    program = textwrap.dedent("""
        import sys
        from data import registry; from data.street_scenes import data_set
        data_set.SIZES = {"train": 2, "validation": 1}
        builder = registry.prepare("street_scenes", None, sys.argv[1])
        print(len(registry.open_source(builder, "train")[0]["image"]) > 0)
        print("tensorflow" in sys.modules)
    """)
    processes = _python(program, str(tmp_path), count=2)
    outputs = [process.communicate() for process in processes]
    assert [printed for printed, _ in outputs] == ["True\nFalse\n"] * 2, outputs
    assert sum("Painting street_scenes train" in errors for _, errors in outputs) == 1
    assert all("WARNING" not in errors for _, errors in outputs)


def _python(program, argument, count=1):
    """Starts `count` interpreters that run a program from the root of the repository."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, argument],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]


def test_an_unknown_split(few_scenes, tmp_path):
    builder = registry.prepare("street_scenes", None, str(tmp_path))
    said = r"no split 'val', expected one of: train \(3 images\), validation \(2 images\); or"
    with pytest.raises(ValueError, match=said):
        registry.open_source(builder, "val")
    with pytest.raises(
        ValueError, match=r"no split 'train\[:10\]' \(Requested slice .* 3 examples\)"
    ):
        registry.open_source(builder, "train[:10]")


def test_an_unknown_name():
    with pytest.raises(
        ValueError, match=r"'camvidd', expected one of: street_scenes, street_scenes_coarse, camvid"
    ):
        registry.get("camvidd")


@pytest.mark.parametrize("directory", [None, ""])
def test_a_directory_that_is_missing(tmp_path, directory):
    with pytest.raises(ValueError, match=r"--config\.data\.dir=DIR"):
        registry.prepare("camvid", directory, str(tmp_path))


def test_a_directory_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.dir is .*nowhere"):
        registry.prepare("camvid", str(tmp_path / "nowhere"), str(tmp_path))


def test_a_directory_that_is_not_wanted(tmp_path):
    with pytest.raises(ValueError, match=r"without a directory.*some/where"):
        registry.prepare("street_scenes", "some/where", str(tmp_path))


CLASSES = {
    "street_scenes": 11,
    "street_scenes_coarse": 11,
    "camvid": 11,
    "cityscapes": 19,
    "cityscapes_coarse": 19,
}


@pytest.mark.parametrize(("name", "classes"), CLASSES.items())
def test_every_data_set_is_described_in_full(name, classes):
    dataset = registry.get(name)
    assert dataset.name == name
    assert len(dataset.classes) == len(dataset.label_spec.palette) == classes
    assert len(set(dataset.classes)) == classes
    assert dataset.ignore_label == 255
    assert dataset.builder.name == name
    assert dataset.label_spec.train_ids is None or len(dataset.label_spec.train_ids) == 256


def test_the_private_name_of_tfds_is_as_it_was():
    """The builders take its place, of no public interface."""
    tried = ("4.9.10",)
    builders = tfds.core.DatasetBuilder, tfds.core.GeneratorBasedBuilder, SegmentationBuilder
    theirs, generated, ours = (
        list(inspect.signature(builder._download_and_prepare).parameters) for builder in builders
    )
    assert theirs == generated == ours, f"TFDS {tfds.__version__}; these were tried: {tried}"


def test_classes_and_colours_are_those_of_the_owners():
    """As SegNet's tutorial and cityscapesscripts/helpers/labels.py state them."""
    assert (
        tuple(
            [
                "sky",
                "building",
                "pole",
                "road",
                "pavement",
                "tree",
                "signsymbol",
                "fence",
                "car",
                "pedestrian",
                "bicyclist",
            ]
        )
        == camvid.CLASSES
    )
    assert camvid.PALETTE == (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    )  # fmt: skip
    assert cityscapes.LABEL_SPEC.palette == (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
        (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
        (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
        (0, 80, 100), (0, 0, 230), (119, 11, 32),
    )  # fmt: skip
