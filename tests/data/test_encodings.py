"""Encodings of built data sets: equal pixels in other bytes, and never one taken for another."""

import io
import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from data import encodings, header, registry
from hmsa_jax.input import decoding
from tests.data import pictures
from tests.data.test_folder import CLASSES, write_classes, write_pair

STORED = encodings.ENCODINGS["stored"]
SIZE = (25, 34)
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (*SIZE, 3), np.uint8)
LABEL = RNG.choice(np.uint8([7, 3, 0, 255]), SIZE)


def png(image, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def opencv_png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def with_colours(values):
    picture = Image.fromarray(values)
    picture.putpalette(RNG.integers(0, 256, 768, np.uint8).tobytes())
    return picture


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return {"exif": exif}


def interlaced():
    """The pass of every eighth pixel is all of an image of 1 x 1."""
    head = b"\0\0\0\1" * 2 + bytes([8, 2, 0, 0, 1])
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0\1\2\3")), (b"IEND", b"")]
    return header.PNG_SIGNATURE + b"".join(pictures.chunk(*each) for each in chunks)


IMAGES = {
    "RGB": png(Image.fromarray(RGB)),
    "RGBA": png(Image.fromarray(RNG.integers(0, 256, (*SIZE, 4), np.uint8))),
    "grey": png(Image.fromarray(LABEL)),
    "grey and alpha": png(Image.fromarray(RGB[..., :2])),
    "1 bit": png(Image.fromarray(LABEL > 3)),
    "16 bits": opencv_png(RNG.integers(0, 2**16, (*SIZE, 3), np.uint16)),
    "palette": png(with_colours(LABEL)),
    "transparent colour": png(Image.fromarray(RGB), transparency=tuple(map(int, RGB[0, 0]))),
    "displayed upside down": png(Image.fromarray(RGB), **orientation(3)),
    "labelled as it is stored": png(Image.fromarray(RGB), **orientation(6)),
    "labelled as it is displayed": png(Image.fromarray(RGB.transpose(1, 0, 2)), **orientation(6)),
}


@pytest.mark.parametrize("case", IMAGES)
def test_pixels_are_equal_and_any_program_reads_them(case):
    label = opencv_png(LABEL)
    record = {"image": IMAGES[case], "label": label, "id": case}
    image, values = decoding.decode(record)
    stored = dict(zip(("image", "label"), STORED(IMAGES[case], label), strict=True))
    assert stored["image"] != IMAGES[case]
    again = decoding.decode(record | stored)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], values)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored["image"]))), image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored["label"]))), LABEL)


def test_an_interlaced_image_is_stored_row_by_row():
    data = interlaced()
    stored, _ = STORED(data, opencv_png(LABEL[:1, :1]))
    assert (data[28], stored[28]) == (1, 0)
    assert np.asarray(Image.open(io.BytesIO(stored))).tolist() == [[[1, 2, 3]]]


def test_a_jpeg_stays_and_so_does_what_no_record_would_hold(monkeypatch):
    label, jpeg = opencv_png(LABEL), pictures.jpeg(RGB)
    assert STORED(jpeg, label)[0] is jpeg
    monkeypatch.setattr(encodings, "_LARGEST", RGB.nbytes - 1)
    assert STORED(IMAGES["RGB"], label)[0] is IMAGES["RGB"]


def test_large_images_are_of_several_chunks():
    """OpenCV refuses a chunk beyond 8 MB."""
    large = RNG.integers(0, 256, (1700, 1600, 3), np.uint8)
    stored, _ = STORED(opencv_png(large), opencv_png(LABEL))
    assert len(stored) > 8_000_000
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(stored, np.uint8), 1), large)


def test_every_damaged_byte_of_the_pixels_is_refused():
    label = opencv_png(LABEL)
    stored, _ = STORED(IMAGES["RGB"], label)
    first, last = stored.index(b"IDAT"), stored.index(b"IEND") - 8
    for at in range(first, last, 7):
        damaged = bytearray(stored)
        damaged[at] ^= 1
        with pytest.raises(ValueError, match="field 'image': cannot decode it"):
            decoding.decode({"image": bytes(damaged), "label": label, "id": "a"})
    for length in (40, len(stored) // 2, last):
        with pytest.raises(ValueError, match="field 'image': cannot decode it"):
            decoding.decode({"image": stored[:length], "label": label, "id": "a"})


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "mine"
    write_classes(root, CLASSES)
    write_pair(root, "train", "a", ".png")
    write_pair(root, "train", "b", ".jpg", pictures.write_palette)
    write_pair(root, "validation", "c", ".png")
    return root


def test_encodings_of_a_data_set_never_mix(tree, tmp_path):
    root = str(tmp_path / "cache")
    plain = registry.prepare("folder", str(tree), root)
    other = registry.prepare("folder", str(tree), root, encoding="stored")
    assert (plain.found.encoding, other.found.encoding) == ("files", "stored")
    assert plain.found.digest != other.found.digest
    assert plain.found.pixels == other.found.pixels
    assert plain.data_dir != other.data_dir
    sources = [registry.open_source(builder, "train") for builder in (plain, other)]
    assert [source.head(1) for source in sources] == [sources[0].head(1)] * 2
    for ours, theirs in zip(*sources, strict=True):
        assert ours["label"] != theirs["label"]
        for expected, got in zip(decoding.decode(ours), decoding.decode(theirs), strict=True):
            np.testing.assert_array_equal(got, expected)
    again = registry.prepare("folder", str(tree), root, other.found.digest, "stored")
    assert again.data_dir == other.data_dir
    with pytest.raises(ValueError, match=rf"data.built is {other.found.digest}, but"):
        registry.prepare("folder", str(tree), root, other.found.digest)


def test_by_name_the_digest_chooses_and_another_encoding_is_refused(tree, tmp_path):
    root = str(tmp_path / "cache")
    digests = {
        name: registry.prepare("folder", str(tree), root, encoding=name).found.digest
        for name in encodings.ENCODINGS
    }
    with pytest.raises(ValueError, match=r"(?s)holds several .*, encoding stored, in "):
        registry.prepare("folder", None, root)
    for name, digest in digests.items():
        assert registry.prepare("folder", None, root, digest).found.encoding == name
    assert registry.prepare("folder", None, root, digests["stored"], "stored").is_sourceless
    with pytest.raises(ValueError, match=r"data.encoding is stored, but .* has the encoding files"):
        registry.prepare("folder", None, root, digests["files"], "stored")


def test_what_was_built_before_there_were_encodings_is_as_its_files(tree, tmp_path):
    builder = registry.prepare("folder", str(tree), str(tmp_path / "cache"))
    path = builder.data_path / "found.json"
    content = json.loads(path.read_text())
    del content["encoding"]
    path.write_text(json.dumps(content))
    assert registry.prepare("folder", str(tree), str(tmp_path / "cache")).found == builder.found
