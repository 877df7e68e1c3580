"""Pictures as the bytes of files."""

import cv2
import numpy as np

from data import pixels


def test_what_no_jpeg_can_hold_is_reduced():
    ramp = np.broadcast_to(np.linspace(0, 255, 70_000)[None, :, None], (8, 70_000, 3))
    got = cv2.imdecode(np.frombuffer(pixels.encode_image(ramp.astype(np.uint8)), np.uint8), 1)
    assert got.shape == (7, pixels.MOST_JPEG_SIDE, 3)
    expected = np.linspace(0, 255, pixels.MOST_JPEG_SIDE)[None, :, None]
    assert np.abs(got - expected).max() <= 3
    tall = np.zeros((70_000, 1, 3), np.uint8)
    got = cv2.imdecode(np.frombuffer(pixels.encode_image(tall), np.uint8), 1)
    assert got.shape == (pixels.MOST_JPEG_SIDE, 1, 3)
