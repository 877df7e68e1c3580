"""Images of any format are what Pillow shows, and their headers say their size."""

import contextlib
import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from hmsa_jax.input.any_image import AnyImage
from tests.data import pictures

SIZE = (48, 80)
PIXELS = cv2.resize(pictures.image("wave", (4, 5)), SIZE[::-1])
GREY = PIXELS[..., 0]


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def record(data):
    return {"image": data, "id": "a"}


def with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("TIFF", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK")),
        *(("PNG", mode) for mode in ("RGB", "L", "P", "1", "RGBA", "LA")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        *(("BMP", mode) for mode in ("RGB", "L", "P", "1")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    ],
)
def test_an_image_is_what_pillow_makes_of_it(form, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    options = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    data = saved(image, form, **options)
    got = AnyImage().decode(record(data))
    with Image.open(io.BytesIO(data)) as again:
        expected = np.asarray(again.convert("RGB"))
    assert got.dtype == np.uint8
    assert got.shape == expected.shape == (*AnyImage().size(record(data)), 3)
    assert np.abs(got.astype(int) - expected).max() <= (4 if form == "JPEG" else 0)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_keeps_its_upper_8(form):
    wide = GREY.astype(np.uint16) * 256 + 77
    data = saved(Image.fromarray(wide), form)
    got = AnyImage().decode(record(data))
    np.testing.assert_array_equal(got, np.repeat(GREY[..., None], 3, -1))


@pytest.mark.parametrize(("bits", "white_is_zero"), [(12, False), (16, False), (16, True)])
def test_grey_of_a_tiff_is_what_its_tags_say(bits, white_is_zero):
    values = 255 - GREY if white_is_zero else GREY
    wide = (values.astype(np.uint16) << (bits - 8)) + 5
    got = AnyImage().decode(record(tiff(wide, bits, 0 if white_is_zero else 1)))
    np.testing.assert_array_equal(got, np.repeat(GREY[..., None], 3, -1))


def tiff(grey, bits, photometric):
    """An uncompressed little-endian file of one strip; of 12 bits two pixels are 3 bytes."""
    rows, columns = grey.shape
    if bits == 12:
        first, second = grey[:, ::2], grey[:, 1::2]
        packed = [first >> 4, (first & 15) << 4 | second >> 8, second & 255]
        strip = np.stack(packed, -1).astype(np.uint8).tobytes()
    else:
        strip = grey.astype("<u2").tobytes()
    tags = {256: columns, 257: rows, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: rows}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries.append(struct.pack("<HHII", 279, 4, 1, len(strip)))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_a_viewer_turns_it_or_not(form, orientation):
    image = Image.fromarray(PIXELS)
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(image, form, **with_orientation(orientation), **options)
    with Image.open(io.BytesIO(data)) as opened:
        shown = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    for upright, expected in ((True, shown), (False, PIXELS)):
        reader = AnyImage(upright)
        got = reader.decode(record(data))
        assert got.shape[:2] == reader.size(record(data)) == expected.shape[:2]
        assert np.abs(got.astype(int) - expected).mean() < 4  # of a JPEG


def bomb(form):
    """A header that claims 60000 x 60000 pixels."""
    image = Image.fromarray(np.zeros((2, 2), np.uint8))
    data = bytearray(saved(image, form))
    if form == "BMP":
        data[18:26] = (60000).to_bytes(4, "little") * 2
    else:
        for tag in (b"\x00\x01\x04\x00\x01\x00\x00\x00", b"\x01\x01\x04\x00\x01\x00\x00\x00"):
            at = data.index(tag) + len(tag)
            data[at : at + 4] = (60000).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a JPEG, PNG, TIFF, WebP or BMP file, got 0 bytes"),
        (b"nothing", "expected a JPEG, PNG, TIFF, WebP or BMP file"),
        (b"II*\0", r"cut off, damaged or of an unknown kind \(4 bytes"),
        (saved(Image.fromarray(PIXELS), "WEBP")[:20], "cut off, damaged or of an unknown kind"),
        (saved(Image.fromarray(PIXELS), "GIF"), "expected a JPEG"),
        (bomb("BMP"), "it claims 60000x60000 pixels"),
        (bomb("TIFF"), "it claims 60000x60000 pixels"),
        (saved(Image.fromarray(PIXELS.astype(np.float32)[..., 0]), "TIFF"), "^its pixels.*'F'"),
    ],
)
def test_what_is_no_image_is_refused_in_words(data, message):
    reader = AnyImage()
    with pytest.raises(ValueError, match=message):
        reader.size(record(data)) and reader.decode(record(data))


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "BMP"])
def test_damage_ends_in_an_image_or_in_words(form):
    """Bytes are changed or cut off, from a seed."""
    rng = np.random.default_rng(0)
    whole = saved(Image.fromarray(PIXELS), form)
    for _ in range(60):
        data = bytearray(whole[: rng.integers(8, len(whole) + 1)])
        for _ in range(rng.integers(0, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        with contextlib.suppress(ValueError):
            image = AnyImage().decode(record(bytes(data)))
            assert image.dtype == np.uint8
            assert image.ndim == 3
