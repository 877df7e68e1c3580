import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from hmsa_jax.input.decoding import decode, image_size
from tests.input.memory_source import encode_png, record

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
LABEL = RNG.integers(0, 19, (6, 9), dtype=np.uint8)


def pillow_bytes(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_png_is_exact_and_rgb():
    image, label = decode(record(IMAGE, LABEL, "a"))
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label, LABEL)
    assert image.dtype == label.dtype == np.uint8


def test_jpeg_is_rgb():
    red = Image.new("RGB", (9, 6), (255, 0, 0))
    image, _ = decode({**record(IMAGE, LABEL, "a"), "image": pillow_bytes(red, "JPEG")})
    assert image[..., 0].min() > 250
    assert image[..., 1:].max() < 5


def test_grey_image_becomes_rgb():
    image, _ = decode({**record(IMAGE, LABEL, "a"), "image": encode_png(LABEL)})
    np.testing.assert_array_equal(image, np.repeat(LABEL[..., None], 3, axis=-1))


def test_exif_orientation_does_not_turn_the_image_against_its_label():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    turned = {
        **record(IMAGE, LABEL, "a"),
        "image": pillow_bytes(Image.fromarray(IMAGE), "JPEG", exif=exif),
    }
    assert decode(turned)[0].shape == IMAGE.shape
    assert image_size(turned) == IMAGE.shape[:2]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 300}])
def test_image_size_of_jpeg(options):
    image = Image.fromarray(RNG.integers(0, 256, (37, 301, 3), dtype=np.uint8))
    data = pillow_bytes(image, "JPEG", **options)
    assert image_size({"image": data, "id": "a"}) == (37, 301)


def test_image_size_of_jpeg_skips_fill_bytes():
    data = pillow_bytes(Image.fromarray(IMAGE), "JPEG")
    assert image_size({"image": data[:2] + b"\xff\xff" + data[2:], "id": "a"}) == (6, 9)


def test_image_size_of_png():
    assert image_size(record(IMAGE, LABEL, "a")) == (6, 9)


@pytest.mark.parametrize("length", [0, 12, 30])
@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_image_size_names_the_record_of_a_bad_header(kind, length):
    data = pillow_bytes(Image.fromarray(IMAGE), kind)[:length]
    with pytest.raises(ValueError, match=r"'street-7', field 'image'.*PNG or JPEG"):
        image_size({"image": data, "id": "street-7"})


def test_a_jpeg_segment_of_nonsense_ends():
    with pytest.raises(ValueError, match="PNG or JPEG"):
        image_size({"image": b"\xff\xd8" + b"\xff\xe0\x00\x00" * 20, "id": "a"})


def test_train_ids_replace_the_values_of_the_label():
    table = bytes([255 - value for value in range(256)])
    _, label = decode({**record(IMAGE, LABEL, "a"), "train_ids": table})
    np.testing.assert_array_equal(label, 255 - LABEL)
    assert label.dtype == np.uint8


PALETTE = Image.fromarray(LABEL)
PALETTE.putpalette(list(range(256)) * 3)
BAD_LABELS = {
    "RGB": (encode_png(IMAGE), "8-bit RGB"),
    "palette": (pillow_bytes(PALETTE, "PNG"), "8-bit palette"),
    "16 bits": (encode_png(LABEL.astype(np.uint16)), "16-bit grey"),
    "1 bit": (pillow_bytes(Image.fromarray(LABEL > 3), "PNG"), "1-bit grey"),
    "JPEG": (pillow_bytes(Image.fromarray(LABEL), "JPEG"), "8-bit grey PNG"),
    "empty": (b"", "0 bytes"),
    "wrong size": (encode_png(LABEL[:-1]), "6x9, got 5x9"),
    "cut": (encode_png(LABEL)[:40], "cannot decode"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_label_is_named(case):
    data, message = BAD_LABELS[case]
    with pytest.raises(ValueError, match=rf"record 'street-7', field 'label'.*{message}"):
        decode({**record(IMAGE, LABEL, "street-7"), "label": data})


@pytest.mark.parametrize("data", [b"", b"no image at all"])
def test_bad_image_is_named(data):
    with pytest.raises(ValueError, match=r"record 'street-7', field 'image'.*cannot decode"):
        decode({**record(IMAGE, LABEL, "street-7"), "image": data})


def test_label_with_few_bits_would_be_rescaled_without_the_check():
    """The reason for the check: this is what OpenCV makes of 1-bit class numbers."""
    data = np.frombuffer(BAD_LABELS["1 bit"][0], np.uint8)
    assert struct.unpack_from("BB", data, 24) == (1, 0)
    assert cv2.imdecode(data, cv2.IMREAD_UNCHANGED).max() == 255
