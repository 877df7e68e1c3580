"""`check-data --propose`: a classes.json of any masks, by which they then pass and are built."""

import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image

import main
from configs import base
from data import folder, mask_survey, registry
from hmsa_jax.experiment import check_data, proposal
from hmsa_jax.input import decoding
from hmsa_jax.runtime.progress import console

SIZE = (40, 60)


def voc_palette():
    """The loop of VOClabelcolormap.m: three bits of the number go to the highest free bits."""
    colours = np.zeros((256, 3), np.uint8)
    for number in range(256):
        rest, shift = number, 7
        while rest:
            for channel in range(3):
                colours[number, channel] |= (rest >> channel & 1) << shift
            rest, shift = rest >> 3, shift - 1
    return colours


VOC = voc_palette()


def regions(seed, values):
    """Two or more upright bars, `[H, W]`, of the values, in an order of its own."""
    order = np.random.default_rng(seed).permutation(np.uint8(values))
    return order[np.arange(SIZE[1]) * len(order) // SIZE[1]][None].repeat(SIZE[0], 0)


def outlined(label):
    """A label with number 255 where two regions meet."""
    edges = np.flatnonzero(np.diff(label[0]))
    label = label.copy()
    label[:, edges] = 255
    return label


def png(pixels, palette=None):
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(np.ascontiguousarray(palette, np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def write_set(root, masks, split="train"):
    for name, data in masks.items():
        for kind in ("images", "masks"):
            (root / kind / split / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        cv2.imwrite(str(root / "images" / split / f"{name}.jpg"), image)
        (root / "masks" / split / f"{name}.png").write_bytes(data)


def config_of(root):
    config = base.get_config()
    config.data.name, config.data.dir = "folder", str(root)
    config.data.cache_dir = str(root.parent / "cache")
    return config


def told(do, root):
    with console.capture() as capture:
        fine = do(config_of(root))
    return fine, capture.get()


def proposed(root):
    """The list that is written, and what is printed; the usual check then passes."""
    before = {path: path.read_bytes() for path in sorted(root.rglob("*.*"))}
    fine, output = told(proposal.propose, root)
    assert fine
    assert {path: path.read_bytes() for path in sorted(before)} == before
    assert sorted(root.rglob("*.*")) == sorted([*before, root / "classes.json"])
    fine, checked = told(check_data.check_data, root)
    assert fine, checked
    return json.loads((root / "classes.json").read_text()), output


def built(root):
    """The train ids of the masks as training reads them, by name."""
    source = registry.open_source(
        registry.prepare("folder", str(root), str(root.parent / "cache")), "train"
    )
    return {record["id"]: decoding.decode(record)[1] for record in source}


def row(output, what):
    line = next(line for line in output.splitlines() if f"│ {what} " in line)
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_numbers(tmp_path):
    labels = {name: regions(seed, [0, 2, 7]) for seed, name in enumerate(("a", "room/b"))}
    write_set(tmp_path / "set", {name: png(label) for name, label in labels.items()})
    classes, output = proposed(tmp_path / "set")
    assert classes == {
        "classes": [{"name": f"class {n}", "id": n} for n in (0, 2, 7)],
        "ignore": [],
    }
    both = np.concatenate([label.ravel() for label in labels.values()])
    column = int(np.argmax(labels["a"][0] == 7))
    assert row(output, "7") == [
        str((both == 7).sum()),
        f"{100 * (both == 7).mean():.3f}",
        "2",
        f"masks/train/a.png (0, {column})",
        "class 7",
    ]
    assert "Give names to 'class 0', 'class 2', 'class 7' there." in output
    assert f"--config.data.dir={tmp_path}/set" in output
    for name, label in built(tmp_path / "set").items():
        np.testing.assert_array_equal(label, np.searchsorted([0, 2, 7], labels[name]))


def test_outlines_of_255_are_ignored_and_areas_are_not(tmp_path):
    label = outlined(regions(0, [0, 1, 2]))
    write_set(tmp_path / "thin", {"a": png(label)})
    classes, output = proposed(tmp_path / "thin")
    assert classes["ignore"] == [255]
    assert len(classes["classes"]) == 3
    assert "255 is thin everywhere, like outlines (3.3% of the pixels): it is ignored." in output
    np.testing.assert_array_equal(built(tmp_path / "thin")["a"], label)
    write_set(tmp_path / "thick", {"a": png(regions(0, [0, 1, 255]))})
    classes, output = proposed(tmp_path / "thick")
    assert classes["ignore"] == []
    assert classes["classes"][2] == {"name": "class 255", "id": 255}
    assert "255 has 33.3% of the pixels, in areas: it is a class." in output


@pytest.mark.parametrize("form", ["grey", "palette", "rgb", "rgba"])
def test_two_values_are_background_and_foreground(tmp_path, form):
    label = regions(3, [0, 255])
    three = np.dstack([label] * 3)
    data = {
        "grey": lambda: png(label),
        "palette": lambda: png(label, np.arange(256).repeat(3)),
        "rgb": lambda: png(three),
        "rgba": lambda: png(np.dstack([three, np.full(SIZE, 255, np.uint8)])),
    }[form]()
    write_set(tmp_path / "set", {"a": data})
    classes, output = proposed(tmp_path / "set")
    is_grey = form in ("grey", "palette")
    key, values = ("id", (0, 255)) if is_grey else ("color", ([0] * 3, [255] * 3))
    assert classes["classes"] == [
        {"name": "background", key: values[0]},
        {"name": "foreground", key: values[1]},
    ]
    assert classes["ignore"] == []
    assert "Give names" not in output
    np.testing.assert_array_equal(built(tmp_path / "set")["a"], label // 255)


@pytest.mark.parametrize("form", ["palette", "rgb"])
def test_voc(tmp_path, form):
    label = outlined(regions(1, [0, 7, 15]))
    data = png(label, VOC) if form == "palette" else png(VOC[label])
    write_set(tmp_path / "set", {"a": data})
    classes, output = proposed(tmp_path / "set")
    names = [entry["name"] for entry in classes["classes"]]
    assert (len(names), names[7], names[15]) == (21, "car", "person")
    assert [entry["color"] for entry in classes["classes"]] == VOC[:21].tolist()
    assert classes.get("masks", "ids") == ("ids" if form == "palette" else "colors")
    assert classes["ignore"] == ([255] if form == "palette" else [[224, 224, 192]])
    assert "Names are those of Pascal VOC, by colour" in output
    np.testing.assert_array_equal(built(tmp_path / "set")["a"], label)


NAMES = ["background", "<script>", '"quoted": [red]', "straße"]
COLOURS = np.uint8([[0, 0, 0], [250, 50, 83], [51, 221, 255], [42, 125, 209]])


def write_label_map(root, names=NAMES, colours=COLOURS):
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(names, colours, strict=True)]
    text = "\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n"
    (root / "labelmap.txt").write_bytes(text.encode())


@pytest.mark.parametrize("form", ["rgb", "palette", "shuffled"])
def test_an_export_of_cvat(tmp_path, form):
    label = regions(2, [0, 1, 2])  # none shows the last class
    if form == "rgb":
        data = png(COLOURS[label])
    else:
        order = np.arange(4) if form == "palette" else np.array([3, 0, 2, 1])
        palette = np.zeros((256, 3), np.uint8)
        palette[order] = COLOURS
        data = png(np.uint8(order)[label], palette)
    root = tmp_path / "[red] set"
    write_set(root, {"<script> [red] '\"": data})
    write_label_map(root)
    classes, output = proposed(root)
    names = [entry["name"] for entry in classes["classes"]]
    assert "Names are those of labelmap.txt, by colour" in output
    assert "masks/train/<script> [red] '\".png" in output
    assert '"quoted": [red]' in output
    assert set(names) == set(NAMES if form != "shuffled" else NAMES[:3])
    (train_ids,) = built(root).values()
    np.testing.assert_array_equal(np.array(names)[train_ids], np.array(NAMES)[label])
    config = config_of(root)
    config.data.dir = ""  # as it is built
    assert check_data.check_data(config)


def test_the_lines_of_a_label_map_are_numbers_of_grey_masks(tmp_path):
    root = tmp_path / "set"
    labels = {"a": regions(0, [1, 3]), "b": regions(1, [0, 3])}
    masks = {"a": png(labels["a"]), "b": png(labels["b"], np.arange(256).repeat(3))}
    write_set(root, masks, "validation")
    write_set(root, masks)
    write_label_map(root)
    classes, output = proposed(root)
    assert [entry["name"] for entry in classes["classes"]] == NAMES
    assert "Names are those of labelmap.txt, in its order: make sure" in output
    for name, train_ids in built(root).items():
        np.testing.assert_array_equal(train_ids, labels[name])


def test_colours_beside_a_label_map_are_told(tmp_path):
    root = tmp_path / "set"
    write_set(root, {"a": png(COLOURS[regions(0, [0, 1, 2])])})
    write_label_map(root, ["class 2", "car"], COLOURS[:2])
    classes, output = proposed(root)
    assert [entry["name"] for entry in classes["classes"]] == ["class 2", "car", "class 2'"]
    assert "labelmap.txt does not list 1 of the colours." in output
    assert 'Give names to "class 2\'" there.' in output


def test_a_list_that_somebody_writes_meanwhile_stays(tmp_path, monkeypatch):
    root = tmp_path / "set"
    write_set(root, {"a": png(regions(0, [0, 1]))})
    look = mask_survey.look

    def look_and_write(*arguments):
        (root / "classes.json").write_text("mine")
        return look(*arguments)

    monkeypatch.setattr(mask_survey, "look", look_and_write)
    with pytest.raises(ValueError, match="never overwritten"):
        told(proposal.propose, root)
    assert (root / "classes.json").read_text() == "mine"


def test_palettes_that_disagree_are_read_by_colour(tmp_path):
    label = regions(4, [0, 1])
    colours = np.uint8([[10, 20, 30], [200, 0, 0]])
    masks = {"a": png(label, colours), "b": png(1 - label, colours[::-1])}
    write_set(tmp_path / "set", masks)
    classes, output = proposed(tmp_path / "set")
    assert classes["masks"] == "colors"
    assert "their palettes disagree, " in output
    listed = np.array([entry["color"] for entry in classes["classes"]])
    for train_ids in built(tmp_path / "set").values():
        np.testing.assert_array_equal(listed[train_ids], colours[label])


def test_palettes_that_disagree_beside_grey_masks_are_told(tmp_path):
    label = regions(4, [0, 1])
    colours = np.uint8([[10, 20, 30], [200, 0, 0]])
    masks = {"a": png(label, colours), "b": png(label, colours[::-1]), "c": png(label)}
    write_set(tmp_path / "set", masks)
    classes, output = proposed(tmp_path / "set")
    assert classes == {"classes": [{"name": f"class {n}", "id": n} for n in (0, 1)], "ignore": []}
    assert "Palettes disagree, 0 is (10, 20, 30) in " in output
    for train_ids in built(tmp_path / "set").values():
        np.testing.assert_array_equal(train_ids, label)


def test_transparent_pixels_are_ignored(tmp_path):
    label = regions(5, [0, 1, 2])
    colours = np.uint8([[9, 9, 9, 0], [255, 0, 0, 255], [0, 0, 255, 255]])
    write_set(tmp_path / "set", {"a": png(colours[label])})
    classes, output = proposed(tmp_path / "set")
    assert classes["ignore"] == ["transparent"]
    assert row(output, "transparent")[-1] == "ignored"
    np.testing.assert_array_equal(built(tmp_path / "set")["a"] == 255, label == 0)


def test_colours_that_are_hardly_there_are_told(tmp_path):
    pixels = COLOURS[regions(6, [1, 2])]
    pixels = np.tile(pixels, (10, 10, 1))
    pixels[0, :20] = np.arange(60).reshape(20, 3)
    image = tmp_path / "set/images/train/a.jpg"
    write_set(tmp_path / "set", {"a": png(pixels)})
    cv2.imwrite(str(image), pixels)
    _, output = proposed(tmp_path / "set")
    assert "20 of the 22 colours have 0.01% of the pixels together: if they are smooth" in output
    assert "'class 4' and 17 others there." in output


def smooth(root):
    label = np.where(np.tri(*SIZE, dtype=bool), 0, regions(0, [1, 2, 3]))
    write_set(root, {"a": png(cv2.GaussianBlur(COLOURS[label], (0, 0), 9))})


def photographs(root):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    write_set(root, {"a": png(pixels)})


def several_forms(root):
    label = regions(0, [0, 1])
    write_set(root, {"a": png(label), "b": png(COLOURS[label])})


def half_transparent(root):
    write_set(root, {"a": png(np.full((*SIZE, 4), 128, np.uint8))})


def only_images(root):
    smooth(root)
    (root / "masks/train/a.png").unlink()


def voc_layout(root):
    (root / "SegmentationClass").mkdir(parents=True)


def supervisely(root):
    root.mkdir()
    (root / "meta.json").write_text("{}")


def listed_already(root):
    smooth(root)
    (root / "classes.json").write_text("mine")


def broken_label_map(root):
    several_forms(root)
    (root / "labelmap.txt").write_text("road:1,2::\n")


def other_label_map(root):
    several_forms(root)
    write_label_map(root, ["a", "a"], COLOURS[:2])


REFUSED = {
    smooth: r"the masks have .*colours \(.* at most 255: smooth edges",
    photographs: r"the masks have more than 4096 colours",
    several_forms: r"1 masks are of colours, like .*b\.png, and 1 are grey, like .*a\.png",
    half_transparent: r"1 colours are half transparent, like \(128, 128, 128\) of alpha 128 in",
    only_images: r"no mask in masks/\{train\}",
    voc_layout: r"no image in images/.*laid out like Pascal VOC",
    supervisely: r"no image in images/.*project of Supervisely, which is not read",
    listed_already: r"classes\.json is there, and is never overwritten",
    broken_label_map: r"labelmap\.txt, line 1: expected name:red,green,blue",
    other_label_map: r"labelmap\.txt: a comes 2 times",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_no_list_fits_is_an_error(tmp_path, make):
    make(tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ValueError, FileNotFoundError), match=REFUSED[make]):
        told(proposal.propose, tmp_path / "set")
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_and_missing_masks_are_listed(tmp_path):
    root = tmp_path / "set"
    label = regions(0, [0, 1])
    masks = {name: png(label) for name in "abc"}
    masks["cut"] = png(np.random.default_rng(0).integers(0, 9, SIZE, np.uint8))[:400]
    masks["deep"] = cv2.imencode(".png", np.zeros(SIZE, np.uint16))[1].tobytes()
    write_set(root, masks)
    (root / "masks/train/a.png").unlink()
    (root / "images/train/b.jpg").unlink()
    (root / "masks/train/c.png").unlink()
    (root / "masks/train/c.png").symlink_to("nowhere")
    fine, output = told(proposal.propose, root)
    assert not fine
    assert not (root / "classes.json").exists()
    assert "1 image without a label:" in output
    assert "1 label without an image:" in output
    assert "3 files unreadable:" in output
    for text in ("cut.png (it is damaged", "deep.png (its pixels are of mode 'I;16')", "c.png (No"):
        assert text in output
    assert f"{root}/classes.json is not written." in output


def test_the_command(tmp_path, capsys):
    root = tmp_path / "set"
    write_set(root, {"a": png(regions(0, [0, 1]))})
    flags = ["--config.data.name=folder", f"--config.data.dir={root}"]
    main.main(["check-data", *flags, "--propose"])
    assert folder.read_classes(root / "classes.json").names == ("class 0", "class 1")
    with pytest.raises(SystemExit):
        main.main(["check-data", *flags, "--propose"])
    assert "never overwritten" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main(["check-data", "--config.data.name=street_scenes", "--propose"])
    assert "whose classes are known; --propose is for" in capsys.readouterr().out
