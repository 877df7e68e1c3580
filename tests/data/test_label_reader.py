"""Masks of colours: each exact colour a class, and every other one refused with an example."""

import io
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from data import checks, folder, registry
from data.label_reader import count, list_others
from hmsa_jax.input import decoding
from tests.data import pictures

SIZE = pictures.SIZE
RED, GREEN, BLACK, GREY = (255, 0, 0), (0, 128, 7), (0, 0, 0), (9, 9, 9)
PAINT = (RED, GREEN, BLACK, GREY)
CLASSES = {
    "masks": "colors",
    "classes": [
        {"name": "car", "color": [255, 0, 0]},
        {"name": "tree", "color": [0, 128, 7], "id": 9},
        {"name": "[red]", "color": [9, 9, 9]},
    ],
    "ignore": [[0, 0, 0]],
}
STORED = np.uint8([0, 9, 255, 2])  # by position in PAINT
TRAIN_IDS = np.uint8([0, 1, 255, 2])


def chosen(name):
    """Positions in `PAINT`, `[H, W]`."""
    return pictures.label(name, range(len(PAINT)))


def painted(name):
    return np.uint8(PAINT)[chosen(name)]


def png(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def rgba(pixels, alpha=255):
    return np.dstack([pixels, np.broadcast_to(np.uint8(alpha), pixels.shape[:2])])


def palette_picture(name):
    """A mask whose indices are shuffled: only its colours mean anything."""
    shuffle = np.uint8([200, 3, 0, 77])
    colours = np.full((256, 3), 1, np.uint8)
    colours[shuffle] = PAINT
    picture = Image.fromarray(shuffle[chosen(name)])
    picture.putpalette(colours.tobytes())
    return picture


def write(root, name, data):
    pictures.write_image(root / f"images/train/{name}.png")
    path = root / f"masks/train/{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    (root / "classes.json").write_text(json.dumps(CLASSES))
    return root


def prepare(root):
    return registry.prepare("folder", str(root), str(root.parent / "cache"))


def change(root, **fields):
    (root / "classes.json").write_text(json.dumps({**CLASSES, **fields}))


def test_colours_become_train_ids(root):
    few = palette_picture("few")
    few = few.remap_palette([200, 3, 0, 77])  # 2 bits a pixel
    turned = Image.Exif()
    turned[0x0112] = 6
    forms = {
        "rgb": png(Image.fromarray(painted("rgb"))),
        "rgba": png(Image.fromarray(rgba(painted("rgba")))),
        "palette": png(palette_picture("palette")),
        "few": png(few, bits=2),
        "turned": png(Image.fromarray(np.rot90(painted("turned"))), exif=turned),
        "made_by_opencv": cv2.imencode(".png", painted("made_by_opencv")[..., ::-1])[1].tobytes(),
    }
    for name, data in forms.items():
        write(root, name, data)
    builder = prepare(root)
    records = {record["id"]: record for record in registry.open_source(builder, "train")}
    assert records.keys() == forms.keys()
    for name, record in records.items():
        stored = pictures.decode(record["label"])
        np.testing.assert_array_equal(stored, STORED[chosen(name)], name)
        np.testing.assert_array_equal(decoding.decode(record)[1], TRAIN_IDS[chosen(name)], name)
    counts = np.bincount(np.concatenate([chosen(n).ravel() for n in forms]), minlength=4)
    assert [builder.found.pixels["train"][value] for value in STORED] == counts.tolist()
    # Without the directory: the list of classes beside the records says what they hold.
    again = registry.get("folder", None, str(root.parent / "cache"))
    assert again.label_spec == folder.read_classes(root / "classes.json")


def test_ids_and_colours_of_one_palette_mask_are_two_data_sets(root):
    picture = Image.fromarray(np.uint8([0, 1])[chosen("a") % 2])
    picture.putpalette([0, 128, 7, 255, 0, 0])
    write(root, "a", png(picture))
    builders = []
    for masks in ("colors", "ids"):
        classes = [{k: v for k, v in c.items() if k != "id"} for c in CLASSES["classes"]]
        change(root, masks=masks, classes=classes, ignore=[255])
        builders.append(prepare(root))
    by_colour, by_number = (registry.open_source(b, "train")[0]["label"] for b in builders)
    np.testing.assert_array_equal(pictures.decode(by_colour), 1 - chosen("a") % 2)
    np.testing.assert_array_equal(pictures.decode(by_number), chosen("a") % 2)
    assert builders[0].found.digest != builders[1].found.digest
    assert builders[1].found.remarks == [
        "1 label with a palette of other colours than the classes have"
    ]
    assert not builders[0].found.remarks


def test_transparent_pixels_are_ignored_if_the_list_says_so(root):
    alpha = np.where(chosen("a") == 0, 0, 255)
    write(root, "a", png(Image.fromarray(rgba(painted("a"), alpha))))
    with pytest.raises(ValueError, match="transparent: pixels"):
        prepare(root)
    change(root, ignore=[[0, 0, 0], "transparent"])
    (record,) = registry.open_source(prepare(root), "train")
    expected = np.where(alpha == 0, 255, TRAIN_IDS[chosen("a")])
    np.testing.assert_array_equal(decoding.decode(record)[1], expected)


def test_other_colours_are_counted_with_an_example_of_each(root):
    near, half = painted("a"), painted("b")
    near[chosen("a") == 0] = (254, 0, 0)
    near[3, 17] = (1, 2, 3)
    write(root, "a", png(Image.fromarray(near)))
    alpha = np.full(SIZE, 255)
    alpha[5, 6] = 128
    half[5, 6] = (255, 0, 0)
    half[20, 1] = (1, 2, 3)
    write(root, "b", png(Image.fromarray(rgba(half, alpha))))
    with pytest.raises(ValueError, match="2 labels with colours that are no class") as error:
        prepare(root)
    text = str(error.value)
    wrong = (near == (254, 0, 0)).all(-1)
    row, column = np.argwhere(wrong)[0]
    a, b = (root / f"masks/train/{name}.png" for name in "ab")
    assert (
        f"(254, 0, 0): pixels {wrong.sum()}, labels 1, first in {a} at row {row}, column {column}"
        in text
    )
    assert f"(1, 2, 3): pixels 2, labels 2, first in {a} at row 3, column 17" in text
    assert f"(255, 0, 0) of alpha 128: pixels 1, labels 1, first in {b} at row 5, column 6" in text


def test_values_are_counted_as_numpy_counts_them():
    rng = np.random.default_rng(0)
    runs, mixed = rng.integers(0, 9, 50, np.uint8).repeat(7), rng.integers(0, 2**32, 60, np.uint32)
    for flat in (runs, mixed):
        values, first, pixels = np.unique(flat, return_index=True, return_counts=True)
        for ours, theirs in zip(count(flat.reshape(10, -1)), (values, pixels, first), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_smooth_edges_are_a_few_lines(root):
    smooth = cv2.GaussianBlur(cv2.resize(painted("a"), None, fx=4, fy=4), (0, 0), 3)
    data = png(Image.fromarray(smooth))
    reader = folder.Folder.label_reader(root)
    _, others = reader.read(data)
    colours, counts = np.unique(smooth.reshape(-1, 3), axis=0, return_counts=True)
    known = [tuple(c) in PAINT for c in colours.tolist()]
    assert others.distinct == len(colours) - sum(known)
    assert others.distinct > 1000
    assert others.pixels[0] == counts[~np.array(known)].max()
    lines = list_others([others])
    assert len(lines) == 11
    assert lines[-1] == f"and at least {others.distinct - 10} other colours"


def beyond_its_palette():
    """Pixels of index 5 and a palette of two colours."""
    data = pictures.png_claiming(36, 24, (b"\0" + bytes([5]) * 36) * 24, colour=3)
    return data[:33] + pictures.chunk(b"PLTE", bytes(6)) + data[33:]


def test_masks_of_colours_in_a_set_of_ids_are_refused_with_what_to_do(root):
    write(root, "a", png(Image.fromarray(painted("a"))))
    change(root, masks="ids", ignore=[255])
    with pytest.raises(ValueError, match=r"a\.png \(its pixels are of mode 'RGB'\)") as error:
        prepare(root)
    assert 'for RGB ones add "masks": "colors" to classes.json' in str(error.value)


BROKEN = {
    "grey": (lambda: png(Image.fromarray(np.zeros(SIZE, np.uint8))), "grey .mode 'L'., not"),
    "16-bit RGB": (
        lambda: cv2.imencode(".png", np.zeros((*SIZE, 3), np.uint16))[1].tobytes(),
        "its colours are of 16 bits",
    ),
    "16-bit grey": (
        lambda: cv2.imencode(".png", np.zeros(SIZE, np.uint16))[1].tobytes(),
        "its pixels are grey",
    ),
    "grey and alpha": (
        lambda: png(Image.fromarray(np.zeros((*SIZE, 2), np.uint8), "LA")),
        "its pixels are grey",
    ),
    "cut": (lambda: png(Image.fromarray(pictures.image("x")))[:900], "damaged"),
    "short": (lambda: pictures.png_claiming(36, 24, bytes(109 * 10), colour=2), "OpenCV cannot"),
    "beyond": (beyond_its_palette, "pixels beyond its palette"),
    "jpeg": (lambda: pictures.jpeg(pictures.image("x")), "a JPEG file, not a PNG"),
    "text": (lambda: b"road", "expected a whole PNG"),
}


def test_what_is_no_mask_of_colours_is_a_line_each(root):
    for name, (make, _) in BROKEN.items():
        write(root, name, make())
    write(root, "whole", png(Image.fromarray(painted("whole"))))
    pairs, _ = folder.Folder.pairs(root)
    label_spec = folder.read_classes(root / "classes.json")
    reader = folder.Folder.label_reader(root)
    found = list(
        checks.inspect(pairs["train"], 9, label_spec, {}, description="Checking", reader=reader)
    )
    texts = "\n".join(text for finding in found for _, text in finding.problems)
    for name, (_, message) in BROKEN.items():
        assert re.search(rf"{name}\.png \(.*{message}", texts), (name, texts)
    assert len(texts.splitlines()) == len(BROKEN)


def test_a_mask_of_another_size(root):
    write(root, "a", png(Image.fromarray(painted("a")[:-1])))
    with pytest.raises(ValueError, match=r"1 pair of unequal size: .*36x24, .*36x23"):
        prepare(root)


def test_an_interlaced_mask_is_read(root):
    """Adam7 by hand: Pillow writes none."""
    image = painted("a")
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2))
    rows = []
    for top, down, left, right in (*passes, (1, 2, 0, 1)):
        part = image[top::down, left::right]
        rows += [b"\0" + line.tobytes() for line in part if part.size]
    data = pictures.png_claiming(36, 24, b"".join(rows), colour=2)
    head = data[12:28] + b"\1"
    crc = pictures.struct.pack(">I", pictures.zlib.crc32(head))
    write(root, "a", data[:12] + head + crc + data[33:])
    (record,) = registry.open_source(prepare(root), "train")
    np.testing.assert_array_equal(decoding.decode(record)[1], TRAIN_IDS[chosen("a")])


WRONG = {
    "masks": ({"masks": "colours"}, r'"masks" is .colours.; expected "ids" or "colors"'),
    "no colour": ({"classes": [{"name": "a"}]}, r'\[0\]: "color" is missing'),
    "colour twice": (
        {"classes": [{"name": n, "color": [1, 2, 3]} for n in "ab"]},
        r'\[1\]: "color" is \[1, 2, 3\], as in "classes"\[0\]',
    ),
    "ignored": ({"ignore": [[255, 0, 0]]}, r'\[0\]: "color" is \[255, 0, 0\], as in "ignore"'),
    "word": ({"ignore": ["clear"]}, r'colours like \[255, 0, 0\], and "transparent"'),
    "colours of ids": ({"masks": "ids", "ignore": [[0, 0, 0]]}, "expected a list of numbers from"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_refused(root, case):
    fields, message = WRONG[case]
    change(root, **fields)
    with pytest.raises(ValueError, match=rf"classes\.json cannot be used[^$]*{message}"):
        folder.read_classes(root / "classes.json")


def test_every_number_may_be_a_class(root):
    classes = [
        {"name": str(n), "color": [n, 0, 0], "id": n + (n > 6)} for n in range(255)
    ]  # all but 7
    change(root, classes=classes, ignore=[[0, 0, 1]])
    label_spec = folder.read_classes(root / "classes.json")
    assert label_spec.ignored_values == (7,)
    pixels = np.uint8([[[0, 0, 1], [200, 0, 0]]])
    label, others = folder.Folder.label_reader(root).read(png(Image.fromarray(pixels)))
    assert (label.tolist(), others) == ([[7, 201]], None)
