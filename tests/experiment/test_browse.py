"""The page of a data set: that odd images are found and shown, whatever they are."""

import html
import json
import re

import cv2
import numpy as np
import pytest

import main
from configs import base
from hmsa_jax.commands import check_data as command
from hmsa_jax.experiment import browse, check_data
from tests.data import pictures
from tests.report.page.test_page import Reader, pixels

SCRIPT = "<script>window.broken=1<|script>"  # a file name holds no slash
NAMES = (SCRIPT.replace("|", "/"), "\"quotes' & [red]", "sky")
COLOURS = ((128, 64, 128), (220, 20, 60), (70, 130, 180))
EVIL = f"{SCRIPT} \"' [red]"
PLAIN = [f"train{i:02}" for i in range(24)]


def write(root, split, name, image, label):
    for kind, array in (("images", image), ("masks", label)):
        path = root / kind / split / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), array)


@pytest.fixture
def tree(tmp_path):
    """Many images that are plain, and one of each kind that is not."""
    root = tmp_path / "set [red]"
    for split, names in (("train", PLAIN), ("validation", ["val0", "val1"])):
        for name in names:
            write(root, split, name, pictures.image(name), pictures.label(name, (0, 1, 2, 255)))
    blank, mixed = np.zeros((24, 36), np.uint8), pictures.label("odd", (0, 1, 255))
    any_image, foreign = pictures.image("odd"), mixed.copy()
    foreign[3, 4] = 77
    odd = {
        EVIL: (any_image, blank),
        "dark": (any_image // 16, mixed),
        "bright": (240 + any_image // 16, mixed),
        "flat": (np.full_like(any_image, 120), mixed),
        "ignored": (any_image, np.where(np.arange(36) < 10, 2, 255).repeat(24).reshape(24, 36)),
        "unlabelled": (any_image, np.full_like(blank, 255)),
        "large": (pictures.image("odd", (48, 72)), pictures.label("odd", (0, 1), (48, 72))),
        "foreign": (any_image, foreign),
        "unequal": (any_image, mixed[:20]),
    }
    for name, (image, label) in odd.items():
        write(root, "train", name, image, label.astype(np.uint8))
    write(root, "train", "damaged", any_image, mixed)
    path = root / "images/train/damaged.png"
    data = path.read_bytes()
    path.write_bytes(data[:900] + bytes(100) + data[1000:])
    (root / "images/train/without label.png").write_bytes(b"")
    classes = [{"name": n, "color": list(c)} for n, c in zip(NAMES, COLOURS, strict=True)]
    (root / "classes.json").write_text(json.dumps({"classes": classes}))
    return root


def config_of(tree):
    config = base.get_config()
    config.data.name, config.data.dir = "folder", str(tree)
    return config


def cards(text):
    """The name of each image -> what stands below it, in order."""
    found = re.findall(r'<article aria-label="(.*?)">.*?<p class="about">(.*?)</p>', text, re.S)
    return {name: re.sub("<.*?>", "", about) for name, about in found}


@pytest.fixture
def read(tree, tmp_path):
    """The page of all images."""
    out = tmp_path / "pages/page.html"
    assert not check_data.check_data(config_of(tree), out, pictures=100)
    return Reader(out.read_text()), out.read_text()


def test_what_is_odd_comes_first(read, tree):
    page, text = read
    found = cards(text)
    evil = next(name for name in found if "quot" in name or "&#34;" in name)
    why = {
        "damaged": "unreadable",
        "foreign": "with a value that is no class",
        "unequal": "of unequal size",
        "large": "of an unusual size",
        "unlabelled": "without a labelled pixel",
        evil: "of a single class",
        "ignored": "mostly ignored, of a single class",
        "dark": "dark, nearly of one colour",
        "bright": "bright, nearly of one colour",
        "flat": "nearly of one colour",
    }
    assert {*list(found)[: len(why)]} == {*why}
    assert {*list(found)[:3]} == {"damaged", "foreign", "unequal"}  # what is wrong
    for name, words in why.items():
        assert found[name].endswith(f", {words}"), (name, found[name])
    assert list(found)[len(why) :] == [*PLAIN, "val0", "val1"]
    assert "ignored 72.2 % · train, 36 x 24" in found["ignored"]
    for words in ("1 file unreadable", "1 image without a label", "without label.png", "holds 77"):
        assert words in text
    assert not any("broken" in script for script in page.scripts)
    assert {*NAMES} <= set(page.cells)
    assert f"<li>train: {EVIL}</li>" in html.unescape(text)
    assert "72 x 48" in page.cells


def test_figures_and_pictures_are_those_of_the_files(read, tree):
    page, _ = read
    labels = [cv2.imread(str(p), -1) for p in sorted(tree.glob("masks/train/*.png"))]
    values = np.concatenate([label.ravel() for label in labels])
    row = page.cells[page.cells.index(NAMES[1], page.cells.index("train, % of pixels")) :]
    assert row[1] == f"{100 * (values == 1).mean():.3f}"
    assert row[2] == str(sum((label == 1).any() for label in labels))
    label = cv2.imread(str(tree / "masks/train/train00.png"), -1)
    image = cv2.imread(str(tree / "images/train/train00.png"))[..., ::-1]
    colours = np.zeros((256, 3), np.uint8)
    colours[:3] = COLOURS
    shown = {a["alt"]: a for a in page.all("img") if a.get("alt", "").endswith(" of train00")}
    assert [*shown] == [f"{name} of train00" for name in ("image", "overlay", "label")]

    def picture(name):
        of = shown[f"{name} of train00"]
        return pixels(browse.Thumbnail(of["src"], int(of["width"]), int(of["height"])))

    np.testing.assert_array_equal(picture("label"), colours[label])
    mean = (image.astype(int) + colours[label]) / 2
    # WebP keeps a quarter of the colours of noise: the greys are compared.
    assert np.abs(picture("overlay").mean(-1) - mean.mean(-1)).mean() < 12
    card = next(a for a in page.all("li") if a.get("data-classes") and "data-number" in a)
    assert sum(json.loads(card["data-classes"]).values()) + float(card["data-number"]) == (
        pytest.approx(100)
    )


def test_few_places_are_shared(tree, tmp_path):
    out = tmp_path / "page.html"
    check_data.check_data(config_of(tree), out, pictures=8)
    names = list(cards(out.read_text()))
    assert {*names[:3]} == {"damaged", "foreign", "unequal"}
    assert names[4:] == ["train06", "train18", "val0", "val1"]
    check_data.check_data(config_of(tree), out, pictures=0)
    assert "No images are shown, since none were asked for" in out.read_text()


def test_the_flag_says_how_many_images_are_shown():
    (flag,) = (flag for flag in command.COMMAND.flags if flag.name == "pictures")
    assert flag.default == browse.PICTURES


def test_a_set_that_is_built_has_a_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("data.street_scenes.data_set.SIZES", {"train": 3, "validation": 2})
    out = tmp_path / "page.html"
    arguments = (f"--config.data.cache_dir={tmp_path}", f"--browse={out}", "--pictures=4")
    main.main(["check-data", *arguments])
    assert len(cards(out.read_text())) == 4
    assert f"The page of street_scenes: {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--browse=OUT/page.html", "--propose"), 2, "leave one of them out"),
        (("--pictures=3",), 2, "name that with --browse=FILE"),
        (("--browse=OUT/page.html", "--pictures=-1"), 2, "expected 0 or more"),
        (("--browse=OUT",), 1, "a directory; name a file, like"),
        (("--browse=OUT/page.png",), 1, "no name of a page"),
        (("--browse=OUT/classes.json/page.html",), 1, "is no directory that may be written to"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(tree, capsys, arguments, status, words):
    arguments = [argument.replace("OUT", str(tree)) for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        main.main(
            ["check-data", "--config.data.name=folder", f"--config.data.dir={tree}", *arguments]
        )
    assert stopped.value.code == status
    output = capsys.readouterr()
    assert words in output.out + output.err
    assert "folder/train" not in output.out
