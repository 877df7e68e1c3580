"""What is read of a file before it is decoded: its size, its turn, and what it claims."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from data import header, pixels
from tests.data import pictures

SIZE = (48, 80)
PIXELS = cv2.resize(pictures.image("wave", (4, 5)), SIZE[::-1])


def with_exif(png, orientation, after_pixels=False):
    """A PNG with an eXIf chunk."""
    exif = struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x0112, 3, 1, orientation) + bytes(4)
    at = png.index(b"IEND") - 4 if after_pixels else 33
    return png[:at] + pictures.chunk(b"eXIf", exif) + png[at:]


def displayed(data):
    """What a viewer displays, according to Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_what_is_displayed(orientation):
    png = cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()
    for data in (
        pictures.jpeg(PIXELS, orientation),
        with_exif(png, orientation),
        with_exif(png, orientation, after_pixels=True),
    ):
        expected = displayed(data)
        for label_size in (None, expected.shape[:2]):
            got = pixels.decode_image(data, label_size)
            assert got.shape == expected.shape
            # Two versions of libjpeg may differ by a level or two.
            assert np.abs(got.astype(int) - expected).max() <= 3
            assert header.read(data).size(label_size) == got.shape[:2]


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_label_of_the_stored_size_says_otherwise(orientation):
    data = pictures.jpeg(PIXELS, orientation)
    stored = pixels.decode_image(pictures.jpeg(PIXELS))
    np.testing.assert_array_equal(pixels.decode_image(data, SIZE), stored)
    assert header.read(data).size(SIZE) == SIZE
    assert header.read(data).turn(SIZE) == 1


def test_the_size_of_a_square_or_mirrored_picture_says_nothing():
    square = PIXELS[:48, :48]
    turned = pixels.decode_image(pictures.jpeg(square, 6), (48, 48))
    assert np.abs(turned.astype(int) - displayed(pictures.jpeg(square, 6))).max() <= 3
    assert header.read(pictures.jpeg(PIXELS, 3)).turn(SIZE) == 3


@pytest.mark.parametrize("orientation", [0, 9, 600])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    assert header.read(pictures.jpeg(PIXELS, orientation)).orientation == 1


@pytest.mark.parametrize("cut", range(0, 26, 3))
def test_damaged_exif_turns_nothing_or_is_read(cut):
    data = bytearray(pictures.jpeg(PIXELS, 6))
    start = data.index(b"Exif") + 6
    data[start + cut : start + 26] = bytes(26 - cut)
    assert header.read(bytes(data)).orientation in (1, 6)


@pytest.mark.parametrize(
    "data",
    [
        pictures.png_claiming(30_000, 30_000, bytes(100)),
        pictures.png_claiming(20_000, 10_000, bytes(1000), bits=1),
        pictures.jpeg(PIXELS).replace(struct.pack(">HH", *SIZE), struct.pack(">HH", 60000, 60000)),
    ],
)
def test_a_claim_that_the_bytes_cannot_hold_is_refused(data):
    with pytest.raises(ValueError, match=r"it claims \d+x\d+ pixels"):
        header.read(data)
    with pytest.raises(ValueError, match="claims"):
        pixels.decode_image(data)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (2**15 + 1, 2**15), (1, 2**20 + 1)])
def test_the_limits_of_the_decoder(size):
    data = pictures.png_claiming(*size, b"") + bytes(2**20)
    with pytest.raises(ValueError, match=r"expected 1 to 1073741824, and at most 1048576 a side"):
        header.read(data)


def test_what_compresses_best_is_no_false_claim():
    flat = np.zeros((3000, 4000), np.uint8)
    assert header.read(cv2.imencode(".png", flat)[1].tobytes()).stored == flat.shape
    stream = io.BytesIO()
    Image.fromarray(flat).save(stream, "JPEG", quality=1, optimize=True, progressive=True)
    assert header.read(stream.getvalue()).stored == flat.shape
    stream = io.BytesIO()
    Image.fromarray(flat > 0).save(stream, "PNG", optimize=True)
    assert header.read(stream.getvalue()).stored == flat.shape


def test_labels_above_the_limit_of_pillow_are_read():
    data = pictures.png_claiming(20_000, 10_000, bytes(20_001)) + bytes(2**18)
    assert pixels.decode_label(data).shape == (10_000, 20_000)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95}])
def test_where_a_file_ends(options):
    noise = pictures.image("noise", SIZE)
    jpeg = pictures.jpeg(noise, **options)
    png = cv2.imencode(".png", noise)[1].tobytes()
    for data in (jpeg, png):
        header.check_end(data)
        header.check_end(data + b"what cameras add")
        for share in (0.5, 0.9):
            with pytest.raises(ValueError, match="cut short"):
                header.check_end(data[: int(share * len(data))])
