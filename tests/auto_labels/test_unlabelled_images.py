"""The images that a user names: a directory, or a split of a data set."""

import json

import cv2
import numpy as np
import pytest

from configs import street_scenes
from data import registry
from hmsa_jax.auto_labels import unlabelled_images


def test_a_directory_that_exists_is_no_split(tmp_path, monkeypatch, capsys):
    out, images = tmp_path / "out", tmp_path / "photos"
    write_image(images / "city0" / "a.jpg", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "street_scenes").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    source, origin = unlabelled_images.open_images(
        "street_scenes/city0", out, street_scenes.get_config().data
    )
    assert origin == str(images / "city0")
    assert len(source) == len(list((images / "city0").iterdir()))
    assert "and not the data set street_scenes" in capsys.readouterr().out
    with pytest.raises(ValueError, match="expected a split, like camvid/train"):
        unlabelled_images.open_images("camvid", out, street_scenes.get_config().data)


def folder_set(root, images):
    """A `folder` data set of images NAME of a train split, each as bright as its number says."""
    for i, name in enumerate(images):
        write_image(root / "images" / "train" / name, np.full((8, 8, 3), 10 * (i + 1), np.uint8))
        write_image(root / "masks" / "train" / name, np.zeros((8, 8), np.uint8))
    (root / "classes.json").write_text(json.dumps({"classes": [{"name": "a", "color": [1, 2, 3]}]}))
    return registry.prepare("folder", str(root), str(root.parent / "cache")).found.digest


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_the_images_are_those_of_the_fields_that_name_the_data_set(tmp_path):
    fine = folder_set(tmp_path / "fine", ["f.png"])
    coarse = folder_set(tmp_path / "coarse", ["c0.png", "c1.png"])

    def opened(**fields):
        data = street_scenes.get_config().data
        data.cache_dir, data.dir = str(tmp_path / "cache"), ""
        data.update({"name": "street_scenes"} | fields)
        source, origin = unlabelled_images.open_images("folder/train", None, data)
        return [source[i]["id"] for i in range(len(source))], origin

    assert opened(name="folder", built=fine) == (["f"], "folder/train")
    assert opened(name="folder", built=coarse)[0] == ["c0", "c1"]
    as_pool = {"pool": street_scenes.get_config().data.pool.copy_and_resolve_references()}
    as_pool["pool"].update(name="folder", built=coarse)
    assert opened(**as_pool)[0] == ["c0", "c1"]
    assert opened(**as_pool, name="folder", built=fine)[0] == ["f"]
    as_pool["pool"].update(name="", built=fine)  # there is no pool: its fields are free
    assert opened(**as_pool)[0] == ["f"]
    as_pool["pool"].update(built="", dir=str(tmp_path / "coarse"))
    assert opened(**as_pool) == (["c0", "c1"], f"folder/train of {tmp_path / 'coarse'}")
    assert opened(dir=str(tmp_path / "fine"))[0] == ["f"]
    with pytest.raises(ValueError, match=r"name the digest of one as data\.pool\.built"):
        opened()


def test_images_of_one_name_are_refused(tmp_path):
    folder_set(tmp_path / "set", ["a.png", "b.png"])
    write_image(tmp_path / "set/images/validation/a.png", np.zeros((8, 8, 3), np.uint8))
    write_image(tmp_path / "set/masks/validation/a.png", np.zeros((8, 8), np.uint8))
    data = street_scenes.get_config().data
    data.update(name="folder", dir=str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(
        ValueError, match=r"^--images=folder/train\+validation has several .* \(a\)"
    ):
        unlabelled_images.open_images("folder/train+validation", None, data)
