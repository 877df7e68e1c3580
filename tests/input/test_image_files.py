"""Image files without labels: which files it takes, and how it reads them."""

import glob
import os
import pathlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hmsa_jax.input import decoding
from hmsa_jax.input.image_files import ImageFiles

sys.path.append(str(Path(__file__).parents[1] / "data"))
from tests.data import pictures


def test_links_are_followed_and_what_is_left_out_is_told(tmp_path):
    far, folder = tmp_path / "far", tmp_path / "images"
    folder.mkdir()
    pictures.write_image(far / "a.png")
    (folder / "linked").symlink_to(far)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "fifo.png")
    (folder / "b.webp").touch()
    images = ImageFiles.below(folder)
    assert [record["id"] for record in images] == ["linked/a"]
    assert images.path(0).read_bytes() == (far / "a.png").read_bytes()
    for text in ("b.webp", "fifo.png", "loop"):
        assert text in images.left_out


def test_an_error_says_what_lies_there_instead(tmp_path):
    (tmp_path / "a.webp").touch()
    with pytest.raises(FileNotFoundError, match=r"found none \(1 left out, .*a\.webp\)"):
        ImageFiles.below(tmp_path)


def test_names_that_are_not_utf8_are_listed_in_a_line(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(ValueError, match=r"1 images have names that .*caf\\udce9\.png; rename"):
        ImageFiles.below(tmp_path)


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_image_is_read_as_displayed_also_beside_a_label_of_that_size(tmp_path, orientation):
    """A label made for what is displayed means the same to whoever trains on it."""
    pixels = cv2.resize(pictures.image("a", (3, 4)), (64, 48))
    (tmp_path / "a.jpg").write_bytes(pictures.jpeg(pixels, orientation))
    (record,) = ImageFiles.below(tmp_path)
    image = decoding.decode_image(record)
    turned = np.rot90(pixels, {3: 2, 6: -1}[orientation])
    assert image.shape[:2] == decoding.image_size(record) == turned.shape[:2]
    assert np.abs(image.astype(int) - turned).mean() < 4  # it is a JPEG
    label = cv2.imencode(".png", np.zeros(image.shape[:2], np.uint8))[1].tobytes()
    np.testing.assert_array_equal(decoding.decode({**record, "label": label})[0], image)


def test_orientation_6_beside_a_label_of_the_stored_size(tmp_path):
    pixels = pictures.image("a", (6, 9))
    label = cv2.imencode(".png", np.zeros((6, 9), np.uint8))[1].tobytes()
    record = {"image": pictures.jpeg(pixels, 6), "label": label, "id": "a"}
    assert decoding.decode(record)[0].shape == (6, 9, 3)
    assert decoding.image_size(record) == decoding.decode_image(record).shape[:2] == (6, 9)


def test_a_label_with_an_orientation_of_its_own_is_built_upright(tmp_path):
    from data.pixels import decode_label, grey_png

    label = pictures.label("a", range(5), (6, 9))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(label).save(tmp_path / "a.png", exif=exif)
    data = (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(decode_label(data), np.rot90(label, -1))
    np.testing.assert_array_equal(pictures.decode(grey_png(data)), np.rot90(label, -1))


@pytest.mark.parametrize(
    "pattern", ["**/*.png", "a/**", "**/b/*.png", "*/**/*.png", "a/**/c/**/*.png", "*.png", "[a]/*"]
)
def test_a_pattern_matches_what_glob_matches(tmp_path, pattern, monkeypatch):
    for name in ("top.png", "a/1.png", "a/b/2.png", "a/b/c/3.png", "a/b/c/d/4.png", "a/.x/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for start in ("", f"{tmp_path}/"):
        monkeypatch.chdir(tmp_path)
        found = ImageFiles.matching(start + pattern, (".png",))
        expected = sorted(glob.glob(start + pattern, recursive=True))  # noqa: PTH207
        got = [str(found.path(i)) for i in range(len(found))]
        assert got == [name for name in expected if pathlib.Path(name).is_file()]


def test_a_pattern_does_not_follow_loops_of_links(tmp_path):
    """Two loops: who follows them has 2^40 paths."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    found = ImageFiles.matching(f"{tmp_path}/**/*.png", (".png",))
    assert [found.id(i) for i in range(len(found))] == ["a/1"]
