"""The input as configs have it: a train split and a pool whose masks number the classes apart."""

import contextlib
import itertools
import json

import cv2
import numpy as np
import pytest

from configs import street_scenes as config_file
from data import registry
from data.street_scenes import data_set
from hmsa_jax.config import schema
from hmsa_jax.experiment import train_input

NAMES = ("road", "car", "post")
SIZE = (64, 96)


def write_folder(root, *, numbers, shade, shown, names=NAMES):
    """A `folder` of one image for each class in `shown`: all of the shade, half of the class.

    Args:
      numbers: what the masks call the classes; 0 is ignored.
    """
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    classes = [{"name": name, "id": n} for name, n in zip(names, numbers, strict=True)]
    (root / "classes.json").write_text(json.dumps({"classes": classes, "ignore": [0]}))
    for at, name in enumerate(shown):
        mask = np.zeros(SIZE, np.uint8)
        mask[32:] = numbers[names.index(name)]
        cv2.imwrite(str(root / f"masks/train/{at}.png"), mask)
        cv2.imwrite(str(root / f"images/train/{at}.png"), np.full((*SIZE, 3), shade, np.uint8))
    return root


OURS = {"numbers": (1, 2, 3), "shade": 50, "shown": ("road", "road", "car", "car")}
THEIRS = {"numbers": (9, 7, 5), "shade": 200, "shown": ("road", "post", "post", "post", "car")}


@pytest.fixture
def data(tmp_path):
    """`config.data` of a train split without posts, and a pool that has some."""
    data = config_file.get_config().data
    data.name, data.pool.name = "folder", "folder"
    data.dir = str(write_folder(tmp_path / "ours", **OURS))
    data.pool.dir = str(write_folder(tmp_path / "theirs", **THEIRS))
    data.cache_dir = str(tmp_path / "cache")
    data.crop_size = (32, 48)
    data.scale_range = (1.0, 1.0)
    data.class_uniform_tile = 64
    return data


def take(data, steps, start_step=0):
    """Shades of the crops and the class that each shows, int `[steps * batch]`; 255 for none."""
    label_spec = registry.get(data.name, data.dir or None).label_spec
    train_input.check_pool(data, label_spec)
    builder = registry.prepare(data.name, data.dir or None, cache_dir=data.cache_dir)
    batches = train_input.prepare(data, label_spec, builder, seed=3)(start_step)
    with contextlib.closing(batches):
        taken = list(itertools.islice(batches, steps))
    images, labels = (np.concatenate([batch[key] for batch in taken]) for key in taken[0])
    return images.max(axis=(1, 2, 3)), labels.min(axis=(1, 2))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_training_reads_the_config(tmp_path, monkeypatch, share):
    monkeypatch.setattr(data_set, "SIZES", {"train": 4, "validation": 1})
    data = config_file.get_config().data
    assert data.class_uniform_share == 0
    data.cache_dir = str(tmp_path)
    data.crop_size = (32, 48)
    data.class_uniform_share = share
    data.class_uniform_tile = 64
    _, labels = take(data, 1, start_step=3)
    assert labels.shape == (8,)
    assert len(list(tmp_path.rglob("tile64-*.npz"))) == (share > 0)
    # What is kept beside the records is no part of them.
    again = registry.prepare("street_scenes", None, str(tmp_path))
    assert len(registry.open_source(again, "train")) == 4


def test_half_of_the_crops_are_of_the_pool_until_its_epoch(data):
    data.pool.until_epoch = 4  # two batches of eight, as the train split has four images
    shades, classes = take(data, 5)
    assert shades.tolist() == [50, 200] * 8 + [50] * 24
    assert set(classes[shades == 50]) <= {0, 1, 255}
    assert set(classes[shades == 200]) <= {0, 1, 2, 255}
    assert 2 in classes[shades == 200]


def test_boost_shows_posts_of_the_pool(data):
    data.class_uniform_share = 1.0
    data.pool.share = 0.0
    data.pool.boost_classes = ("post",)
    data.pool.boost_until_epoch = 4
    shades, classes = take(data, 8)
    assert set(shades[:16]) == {50, 200}
    assert (classes[shades == 200] == 2).all()
    assert set(classes[shades == 50]) == {0, 1}
    assert set(shades[16:]) == {50}


def test_classes_that_the_pool_lacks_are_named(data, tmp_path, capsys):
    data.class_uniform_share = 0.5
    data.pool.dir = str(write_folder(tmp_path / "other", **{**THEIRS, "shown": ("road", "post")}))
    take(data, 1)
    output = capsys.readouterr().out
    assert "train has no pixel of: post." in output
    assert "the pool's train has no pixel of: car." in output


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("road", "post", "car"), "class 1 is 'post' there and 'car' here"),
        (("road", "car"), "class 2 is missing there and 'post' here"),
        ((*NAMES, "sign"), "class 3 is 'sign' there and missing here"),
    ],
)
def test_a_pool_of_other_classes_is_refused(data, tmp_path, names, difference):
    folder = {"numbers": range(1, 1 + len(names)), "shade": 9, "shown": (), "names": names}
    data.pool.dir = str(write_folder(tmp_path / "other", **folder))
    with pytest.raises(ValueError, match=rf"(?s)^data\.pool\.name is 'folder'.*  {difference}"):
        train_input.check_pool(data, registry.get("folder", data.dir).label_spec)


def test_boost_classes_are_classes(data):
    data.pool.boost_classes = ("car", "pots")
    with pytest.raises(ValueError, match=r"boost_classes has 'pots'.*names like post\."):
        train_input.check_pool(data, registry.get("folder", data.dir).label_spec)
    data.pool.boost_classes = ("unicycle",)
    with pytest.raises(ValueError, match=r"'unicycle'.*names like road, car, post\."):
        train_input.check_pool(data, registry.get("folder", data.dir).label_spec)


@pytest.mark.parametrize(
    ("name", "directory", "message"),
    [
        ("street", "", r"^data\.pool\.name is 'street', expected one of"),
        ("folder", "", r"pass --config\.data\.pool\.dir=DIR"),
        ("street_scenes", "here", r"but data\.pool\.dir is 'here'"),
    ],
)
def test_a_pool_that_cannot_be_opened_names_its_own_fields(data, name, directory, message):
    data.pool.name, data.pool.dir = name, directory
    with pytest.raises(ValueError, match=message):
        train_input.check_pool(data, registry.get("folder", data.dir).label_spec)


def test_a_missing_directory_of_the_pool_is_told_so(data):
    data.pool.dir = "/nowhere"
    with pytest.raises(FileNotFoundError, match=r"^data\.pool\.dir is '/nowhere'"):
        train_input.check_pool(data, registry.get("folder", data.dir).label_spec)


def test_without_a_pool_nothing_is_checked():
    config = config_file.get_config()
    schema.check(config)
    train_input.check_pool(config.data, registry.get("street_scenes").label_spec)


def test_a_train_split_that_cannot_teach_is_refused_before_anything_starts(tmp_path):
    data = config_file.get_config().data
    data.name, data.cache_dir = "folder", str(tmp_path / "cache")
    data.dir = str(write_folder(tmp_path / "ours", **{**OURS, "shown": ("road", "road")}))
    builder = registry.prepare(data.name, data.dir, cache_dir=data.cache_dir)
    with pytest.raises(
        ValueError, match="folder/train cannot be trained on: only the class 'road'"
    ):
        train_input.open_sources(data, builder)
    data.pool.name = "folder"
    data.pool.dir = str(write_folder(tmp_path / "theirs", **THEIRS))
    assert list(train_input.open_sources(data, builder)) == ["data.train_split", "data.pool.split"]
