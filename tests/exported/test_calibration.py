"""Which images ranges are measured on, which part of them, and what is refused."""

import cv2
import numpy as np
import pytest

from hmsa_jax.auto_labels import unlabelled_images
from hmsa_jax.exported import calibration
from hmsa_jax.input.image_files import ImageFiles

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)


def png(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def test_the_middle_of_each_image(tmp_path):
    (tmp_path / "wide.png").write_bytes(png(PIXELS))
    (tmp_path / "whole.png").write_bytes(png(PIXELS[:6, :4]))
    source, _ = unlabelled_images.open_images(str(tmp_path), None, None, "--calibration")
    whole, wide = calibration.images_of(source, (6, 4))
    np.testing.assert_array_equal(wide, PIXELS[1:7, 4:8])
    np.testing.assert_array_equal(whole, PIXELS[:6, :4])


def test_few_are_read_from_all_over_the_source():
    read = []

    class Records:
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            read.append(index)
            return {"image": png(PIXELS), "id": str(index)}

    images = calibration.images_of(Records(), (9, 12))
    assert len(images) == len(set(read)) == calibration.MOST
    assert (read[0], read[-1]) == (0, 999)
    assert set(np.diff(read)) == {32, 33}


def test_all_that_cannot_be_used_are_named(tmp_path):
    for name, image in (("good", PIXELS), ("low", PIXELS[:7]), ("narrow", PIXELS[:, :3])):
        (tmp_path / f"{name}.png").write_bytes(png(image))
    (tmp_path / "torn.png").write_bytes(png(PIXELS)[:60])
    with pytest.raises(ValueError, match="--calibration: 3 of 4 images cannot be used") as raised:
        calibration.images_of(ImageFiles.below(tmp_path), (8, 12))
    said = str(raised.value).splitlines()
    assert said[1].endswith("low.png: image 'low' is 7 x 12; expected 8 x 12 pixels or more")
    assert said[2].endswith("narrow.png: image 'narrow' is 9 x 3; expected 8 x 12 pixels or more")
    assert "torn.png: " in said[3]
    with pytest.raises(ValueError, match="there are no images in it"):
        calibration.images_of([], (8, 12))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected images"):
        unlabelled_images.open_images(str(tmp_path / "empty"), None, None, "--calibration")
    with pytest.raises(ValueError, match="--calibration is camvid; expected a split"):
        unlabelled_images.open_images("camvid", None, None, "--calibration")
