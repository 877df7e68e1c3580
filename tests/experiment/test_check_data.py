"""The command `check-data`: its figures against a plain count, its list, and its exit status."""

import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from configs import base
from data import checks
from data.street_scenes import data_set
from hmsa_jax.experiment import check_data
from hmsa_jax.report import checked_data
from hmsa_jax.runtime.progress import console

ROOT = pathlib.Path(__file__).parents[2]
VALUES = [0, 3, 10, 255]
SIZES = {"train": [(24, 36), (24, 36), (20, 30)], "val": [(24, 36)], "test": [(24, 36)]}


@pytest.fixture
def tree(tmp_path):
    """CamVid's layout with labels of few classes."""
    rng = np.random.default_rng(0)
    root = tmp_path / "camvid"
    for folder, sizes in SIZES.items():
        for kind in ("images", "labels"):
            (root / kind / folder).mkdir(parents=True)
        for i, size in enumerate(sizes):
            image = rng.integers(0, 256, (*size, 3), np.uint8)
            label = rng.choice(np.uint8(VALUES[: 2 + i]), size)
            cv2.imwrite(str(root / f"images/{folder}/{folder}{i}.jpg"), image)
            cv2.imwrite(str(root / f"labels/{folder}/{folder}{i}.png"), label)
    return root


def config_of(name, directory=""):
    config = base.get_config()
    config.data.name, config.data.dir = name, str(directory)
    return config


def run(config):
    with console.capture() as capture:
        fine = check_data.check_data(config)
    return fine, capture.get()


def row(output, name):
    """The cells of a class in the first table."""
    line = next(line for line in output.splitlines() if f"│ {name} " in line)
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_the_figures_are_those_of_a_plain_count(tree):
    fine, output = run(config_of("camvid", tree))
    assert fine
    assert "camvid/train: 3 images, 2 36x24, 1 30x20" in output
    assert "camvid/validation: 1 images, all 36x24" in output
    assert "Nothing is refused, but see above." in output
    assert "camvid/train has no pixel of building, pole, pavement, tree, signsymbol," in output
    labels = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in tree.glob("labels/train/*.png")]
    pixels = np.concatenate([label.ravel() for label in labels])
    for value, name in ((0, "sky"), (3, "road"), (10, "bicyclist"), (1, "building")):
        count = int((pixels == value).sum())
        images = sum((label == value).any() for label in labels)
        assert row(output, name) == [str(count), f"{100 * count / len(pixels):.3f}", str(images)]
    ignored = int((pixels == 255).sum())
    assert row(output, "ignored")[:2] == [str(ignored), f"{100 * ignored / len(pixels):.3f}"]


def test_everything_wrong_is_listed_below_the_tables(tree):
    for i in range(3, 10):
        (tree / f"images/train/train{i}.jpg").write_bytes(b"")
    (tree / "images/val/val0.jpg").unlink()
    image = tree / "images/val/val0.png"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8))
    # Whole at both ends: only decoding finds it.
    data = image.read_bytes()
    image.write_bytes(data[:900] + bytes(100) + data[1000:])
    cv2.imwrite(str(tree / "labels/test/test0.png"), np.full((24, 36), 77, np.uint8))
    fine, output = run(config_of("camvid", tree))
    assert not fine
    assert "7 images without a label:" in output
    assert all(f"train{i}.jpg" in output for i in range(3, 10))
    assert "1 file unreadable:" in output
    assert "val0.png (" in output
    assert "test0.png holds 77" in output
    assert "Nothing is wrong" not in output


def test_label_ids_are_counted_as_classes(tmp_path):
    label = np.repeat(np.uint8([0, 7, 7, 26]), 8).reshape(4, 8)
    for folder, kind, name, pixels in (
        ("leftImg8bit", "train", "a_leftImg8bit", np.zeros((4, 8, 3), np.uint8)),
        ("gtFine", "train", "a_gtFine_labelIds", label),
        ("leftImg8bit", "test", "b_leftImg8bit", np.zeros((4, 8, 3), np.uint8)),
    ):
        place = tmp_path / folder / kind / "ulm"
        place.mkdir(parents=True)
        cv2.imwrite(str(place / f"{name}.png"), pixels)
    fine, output = run(config_of("cityscapes", tmp_path))
    assert fine
    assert row(output, "road") == ["16", "50.000", "1"]
    assert row(output, "car") == ["8", "25.000", "1"]
    assert row(output, "ignored")[:2] == ["8", "25.000"]
    assert "cityscapes/test: 1 images, all 8x4" in output


def test_what_is_left_out_is_listed_and_refuses_nothing(tree):
    for name in ("a.tif", "b.webp", ".c.jpg"):
        (tree / "images/train" / name).touch()
    (tree / "labels/val/d.jpg").touch()
    os.mkfifo(tree / "labels/test/fifo.png")
    fine, output = run(config_of("camvid", tree))
    assert fine
    assert "3 files left out, of another suffix or name:" in output
    assert "1 file left out, hidden:" in output
    assert "1 file left out, no file and no folder, but a pipe, socket or device:" in output
    for name in ("a.tif", "b.webp", ".c.jpg", "d.jpg", "fifo.png"):
        assert f"/{name}\n" in output


def test_cityscapes_lists_what_is_no_file_of_the_owners(tmp_path):
    label = np.repeat(np.uint8([7, 26]), 16).reshape(4, 8)
    image = tmp_path / "leftImg8bit/train/ulm/a_leftImg8bit.png"
    labels = tmp_path / "elsewhere"
    image.parent.mkdir(parents=True)
    labels.mkdir()
    (tmp_path / "gtFine/train").mkdir(parents=True)
    (tmp_path / "gtFine/train/ulm").symlink_to(labels)
    cv2.imwrite(str(image), np.zeros((4, 8, 3), np.uint8))
    cv2.imwrite(str(labels / "a_gtFine_labelIds.png"), label)
    for name in ("a_gtFine_color.png", "a_gtFine_polygons.json", "b_gtFine_labelIds.tif"):
        (labels / name).touch()
    image.with_suffix(".jpg").touch()
    fine, output = run(config_of("cityscapes", tmp_path))
    assert fine
    assert row(output, "car") == ["16", "50.000", "1"]
    assert "2 files left out, of another suffix or name:" in output
    assert "_color" not in output


def test_a_set_that_cannot_teach_is_not_fine(tree):
    for path in tree.glob("labels/train/*.png"):
        label = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), np.where(label == 3, 3, 255).astype(np.uint8))
    fine, output = run(config_of("camvid", tree))
    assert not fine
    assert "camvid/train cannot be trained on: only the class 'road' has pixels" in output
    for path in tree.glob("labels/test/*.png"):
        cv2.imwrite(str(path), np.full(cv2.imread(str(path)).shape[:2], 255, np.uint8))
    _, output = run(config_of("camvid", tree))
    assert "camvid/test has no labelled pixel." in output


def test_painted_scenes_are_read_from_their_records(tmp_path, monkeypatch):
    monkeypatch.setattr(data_set, "SIZES", {"train": 3, "validation": 2})
    config = config_of("street_scenes")
    config.data.cache_dir = str(tmp_path)
    fine, output = run(config)
    assert fine
    assert "street_scenes/train: 3 images, all 256x128" in output
    assert row(output, "road")[2] == "3"


def test_a_split_without_labels():
    statistics = checked_data.Statistics(data_set.StreetScenes.label_spec())
    statistics.add(checks.Finding(0, "a", (4, 3), (9.0, 1.0), None, ()))
    names = data_set.classes.NAMES
    with console.capture() as capture:
        console.print(check_data.to_table(names, statistics))
    assert row(capture.get(), "road") == ["0", "-", "0"]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


def test_the_command_needs_no_workdir_and_exits_by_the_result(tree):
    arguments = ("check-data", "--config=configs/camvid.py", f"--config.data.dir={tree}")
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    (tree / "labels/val/val0.png").unlink()
    done = command(*arguments)
    assert done.returncode == 1
    assert "1 image without a label" in done.stdout
    assert "Traceback" not in done.stderr


def test_other_commands_still_need_a_workdir():
    done = command("train", "--config.steps=1")
    assert done.returncode != 0
    assert "train needs --workdir=DIR" in done.stdout + done.stderr
