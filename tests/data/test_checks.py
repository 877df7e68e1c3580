"""What the check says of pairs: the decoder of training decides, and what it mutters is heard."""

import os
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from data import checks, decoder_messages, problems
from data.checks import Listing, Pair
from data.files import File
from data.label_spec import LabelSpec
from data.problems import Problems
from tests.data import pictures

LABEL_SPEC = LabelSpec.of_train_ids(("road", "sky"), ((1, 2, 3), (4, 5, 6)))
COLOURS = {0: (1, 2, 3), 1: (4, 5, 6)}
SIZE = (24, 36)
LABEL = np.repeat(np.uint8([0, 1]), 12)[:, None].repeat(36, 1)
LARGE = (200, 300)


def inspect(*pairs):
    """Kind and text of what is found in pairs of (image bytes, label bytes or None)."""
    files = [
        Pair(str(i), Bytes("image", image), label and Bytes("label", label))
        for i, (image, label) in enumerate(pairs)
    ]
    findings = list(
        checks.inspect(files, len(files), LABEL_SPEC, COLOURS, description="Checking nothing")
    )
    assert len(findings) == len(pairs)
    return [problem for finding in findings for problem in finding.problems]


class Bytes(File):
    """A file in memory."""

    def __init__(self, name, data):
        object.__setattr__(self, "path", name)
        object.__setattr__(self, "member", "")
        object.__setattr__(self, "open", lambda: pictures.io.BytesIO(data))


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def palette_png(label, colours):
    picture = Image.fromarray(label)
    picture.putpalette(colours)
    stream = pictures.io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


IMAGE = pictures.jpeg(pictures.image("a", SIZE))
SHORT = pictures.png_claiming(36, 24, bytes(37 * 10))


def test_what_pillow_fills_in_is_damage():
    """Rows that are missing: Pillow makes them black, OpenCV does not decode them."""
    palette = SHORT[:25] + b"\x03" + SHORT[26:29]
    palette += pictures.struct.pack(">I", pictures.zlib.crc32(palette[12:]))
    palette += pictures.chunk(b"PLTE", bytes(6)) + SHORT[33:]
    for label in (SHORT, palette):
        ((kind, text),) = inspect((IMAGE, label))
        assert kind == problems.UNREADABLE
        assert "label (OpenCV cannot decode these" in text
    ((kind, text),) = inspect((SHORT, png(LABEL)))
    assert kind == problems.UNREADABLE
    assert "image (OpenCV cannot decode these" in text


def test_holes_in_a_jpeg_are_told_of_their_picture():
    whole = pictures.jpeg(pictures.image("a", LARGE))
    hole = whole[: len(whole) // 2] + b"\xff\xd9"
    label = png(np.zeros(LARGE, np.uint8))
    found = inspect(*[(whole, label)] * 3, (hole, label), *[(whole, label)] * 3)
    assert found == [(problems.DAMAGED, "image (Corrupt JPEG data: premature end of data segment)")]
    ((kind, text),) = inspect((whole[: len(whole) // 2], label))
    assert kind == problems.UNREADABLE
    assert "cut short" in text


def test_orientations_are_counted_by_what_becomes_of_them():
    pixels = pictures.image("a", SIZE)
    mirrored, turned = (pictures.jpeg(pixels, orientation) for orientation in (2, 6))
    kinds = [kind for kind, _ in inspect((mirrored, png(LABEL)), (turned, png(LABEL)))]
    assert kinds == [problems.TURNED, problems.AS_STORED]
    kinds = [kind for kind, _ in inspect((turned, png(LABEL.T)), (turned, None))]
    assert kinds == [problems.TURNED, problems.TURNED]
    (_, (kind, text)) = inspect((turned, png(LABEL[:-1])))
    assert kind == problems.UNEQUAL
    assert "image 24x36 as displayed, label 36x23" in text


def test_a_palette_of_other_colours():
    right = palette_png(LABEL, [1, 2, 3, 4, 5, 6])
    grey = palette_png(LABEL, np.arange(256).repeat(3).tolist())
    assert inspect((IMAGE, right), (IMAGE, grey), (IMAGE, png(LABEL))) == []
    ((kind, text),) = inspect((IMAGE, palette_png(LABEL, [4, 5, 6, 1, 2, 3])))
    assert kind == problems.OTHER_COLOURS
    assert "value 0 is (4, 5, 6), which is the colour of value 1; expected (1, 2, 3)" in text


def test_names_that_look_the_same_are_told():
    """As macOS and others write them."""
    found, composed = Problems("0"), "M\u00fcller"
    listing = Listing(
        [("Mu\u0308ller", File("/i/Mu\u0308ller.png")), ("\u00e9t\u00e9", File("/i/ete.png"))],
        [(composed, File(f"/m/{composed}.png"))],
    )
    assert checks.match(listing, found) == []
    with pytest.raises(FileNotFoundError, match="nothing works") as refused:
        found.refuse("nothing works")
    said = "(the other one's name looks the same, in another Unicode form: rename one)"
    assert f"/i/Mu\u0308ller.png {said}" in str(refused.value)
    assert f"/m/{composed}.png {said}" in str(refused.value)
    assert str(refused.value).count(said) == 2


def test_names_that_are_not_utf8_are_refused():
    name = os.fsdecode(b"caf\xe9")
    found = Problems("0")
    checks.match(Listing([(name, File(f"/a/{name}.png"))], None), found)
    with pytest.raises(ValueError, match=r"1 file with a name that is not UTF-8: /a/caf\\udce9"):
        found.refuse("nothing works")


def test_what_others_say_meanwhile_is_not_lost(capfd):
    with decoder_messages.heard() as messages:
        os.write(2, b"Corrupt JPEG data: bad Huffman code\n")
        assert messages.damage_since(0) == "Corrupt JPEG data: bad Huffman code"
        os.write(2, b"libpng warning: iCCP: known incorrect sRGB profile\nsomething else\n")
        assert messages.damage_since(40) == ""
        print("of Python", file=sys.stderr)
    assert capfd.readouterr().err.splitlines() == ["of Python", "something else"]


def test_a_process_without_a_standard_error_stream(monkeypatch):
    def closed(descriptor):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    assert inspect((IMAGE, png(LABEL))) == []
