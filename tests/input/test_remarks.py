"""Sets that cannot teach anything, and what is told of those that can."""

import json

import cv2
import numpy as np
import pytest

from data import registry
from data.street_scenes import data_set
from hmsa_jax.input import remarks
from hmsa_jax.runtime.progress import console

TWO = {"classes": [{"name": "background"}, {"name": "[box]"}]}
ONE = {"classes": [{"name": "background"}]}


def build(root, values, classes):
    """A `folder` data set whose mask i holds value i alone."""
    for i, value in enumerate(values):
        for kind in ("images", "masks"):
            (root / kind / "train").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"images/train/{i}.png"), np.zeros((8, 8, 3), np.uint8))
        cv2.imwrite(str(root / f"masks/train/{i}.png"), np.full((8, 8), value, np.uint8))
    (root / "classes.json").write_text(json.dumps(classes))
    return registry.prepare("folder", str(root), str(root / "cache"))


@pytest.mark.parametrize(
    ("values", "classes", "reason"),
    [
        ([0, 255], TWO, "only the class 'background' has pixels"),
        ([0, 0], ONE, "only the class 'background' has pixels"),
        ([255], TWO, "no class has a pixel"),
    ],
)
def test_what_cannot_teach_is_refused(tmp_path, values, classes, reason):
    builder = build(tmp_path, values, classes)
    with pytest.raises(ValueError, match=rf"^folder/train cannot be trained on: {reason}") as error:
        remarks.check_classes([(builder, "train")])
    assert "of which 255 belongs to no class" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pool_may_have_what_the_train_split_lacks(tmp_path):
    parts = [
        (build(tmp_path / kind, [value], TWO), "train") for value, kind in enumerate(("a", "b"))
    ]
    remarks.check_classes(parts)


def test_a_pool_without_a_label_is_refused(tmp_path):
    """As one of `autolabel` whose threshold nothing exceeds; beside a painted split, too."""
    fine, pool = build(tmp_path / "a", [0, 1], TWO), build(tmp_path / "b", [255], TWO)
    with pytest.raises(ValueError, match=r"^folder/train of .*/b has no labelled pixel"):
        remarks.check_classes([(fine, "train"), (pool, "train")])


def test_absent_classes_and_remarks_are_told(tmp_path):
    (tmp_path / "images/train").mkdir(parents=True)
    for name in ("a.tif", "b.bmp", ".c.png"):
        (tmp_path / "images/train" / name).touch()
    builder = build(tmp_path, [0, 1], {"classes": [*TWO["classes"], {"name": "[sky]"}]})
    with console.capture() as capture:
        remarks.tell_remarks(builder)
        remarks.check_classes([(builder, "train")])
    assert capture.get().splitlines() == [
        "folder: 1 file left out, hidden; 2 files left out, of another suffix or name"
        " (`python main.py check-data` lists them).",
        "folder/train has no pixel of [sky].",
    ]


def test_painted_scenes_are_not_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(data_set, "SIZES", {"train": 1, "validation": 1})
    builder = registry.prepare("street_scenes", None, str(tmp_path))
    remarks.check_classes([(builder, "train")])
