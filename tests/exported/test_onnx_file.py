"""What of an ONNX file needs no onnxruntime: how a precision is compared, and refused."""

import dataclasses
import pathlib

import numpy as np
import pytest

from hmsa_jax.exported import onnx_file
from hmsa_jax.exported.precision import PRECISIONS

PATH = pathlib.Path("network.onnx")
IMAGES = [np.zeros((10, 10, 3), np.uint8)] * 2


def saying(other=0, *, finite=True):
    """A network that says class 1 of so many pixels of each image, and 0 of the others."""
    classes = (np.arange(100) < other).astype(np.uint8).reshape(10, 10)
    probability = np.full((10, 10), 200 + other, np.uint8)
    return lambda _: {"classes": classes, "probability": probability, "finite": np.bool_(finite)}


def test_what_fewer_bits_lose():
    loss = onnx_file._loss(saying(), saying(5), IMAGES, "int8", PATH)
    assert loss.classes == pytest.approx(0.05)
    assert (loss.probability, loss.largest) == pytest.approx((5 / 255, 5 / 255))


@pytest.mark.parametrize(
    ("name", "fewer", "message"),
    [
        ("int8", saying(6), r"in int8 it is too far from float32: 6\.000% .*\. At most 5\.0%"),
        (
            "float16",
            saying(1),
            r": 1\.000% .* At most 0\.6% and 0\.003 .*; take --precision=float32",
        ),
        ("float16", saying(finite=False), "what the network says is not finite"),
    ],
)
def test_what_is_far_is_refused(name, fewer, message):
    with pytest.raises(ValueError, match=rf"network\.onnx is not written, since .*{message}"):
        onnx_file._loss(saying(), fewer, IMAGES, name, PATH)


def test_what_a_converter_raises_is_a_line():
    def change(data, images):
        raise RuntimeError("no such operation")

    failing = dataclasses.replace(PRECISIONS.get("int8"), change=change)
    message = r"network\.onnx is not written: .* no int8 of it \(no such operation\); calibrate"
    with PRECISIONS.holding("int8", failing), pytest.raises(ValueError, match=message):
        onnx_file._changed("int8", b"", IMAGES, PATH)
