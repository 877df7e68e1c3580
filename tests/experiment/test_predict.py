"""`predict` on images of a user's own: masks, pictures, what cannot be read, going on."""

import glob
import html
import json
import os
import pathlib
import shutil
import zipfile

import cv2
import jax
import numpy as np
import pytest
from PIL import Image

from configs import street_scenes
from data import cityscapes
from data.label_spec import LabelSpec
from hmsa_jax.distributed import preemption
from hmsa_jax.experiment import experiment, predict, run_directory
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.predictions import submission
from hmsa_jax.predictions.predicted_images import KINDS, parse_kinds
from hmsa_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("short_trunk")

SPEC = LabelSpec.of_raw_values(
    ("road", "sky [blue]", "pole"), ((128, 64, 128), (70, 130, 180), (9, 9, 9)), (7, 23, 17), (0,)
)
PROTOCOL = "hierarchical:0.5,1"
SIZES = ((48, 64), (48, 64), (40, 56))


def a_config():
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.data.name, config.data.dir = "folder", "/gone"
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    config.evaluate.images_per_device = 1
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was moved, and whose data set is gone."""
    first = tmp_path_factory.mktemp("first") / "run"
    assembled = experiment.assemble(a_config(), label_spec=SPEC)
    run_directory.claim(first, a_config(), SPEC)
    with checkpoint.Checkpoints(first, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 3)
    return pathlib.Path(shutil.move(first, tmp_path_factory.mktemp("moved") / "run"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("my photos [2020]")
    rng = np.random.default_rng(0)
    for (rows, columns), name in zip(
        SIZES, ("a.jpg", "Straße/b.TIF", "Straße/c.webp"), strict=True
    ):
        (root / name).parent.mkdir(exist_ok=True)
        pixels = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (columns, rows))
        Image.fromarray(pixels).save(root / name)
    (root / "notes.txt").touch()
    return root


@pytest.fixture(scope="module")
def predicted(run, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted") / "out"
    assert do(run, images, out, save=KINDS)
    return out


def do(run, images, out, **options):
    config = run_directory.resolve(run, None, {})
    return predict.predict(config, run, str(images), out, **{"protocol": PROTOCOL} | options)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_masks_are_those_of_the_network(run, images, predicted):
    assembled = experiment.assemble(a_config(), label_spec=SPEC)
    for path, name in ((images / "a.jpg", "a"), (images / "Straße/b.TIF", "Straße/b")):
        pixels = cv2.imread(str(path))[None, ..., ::-1]
        (output,) = protocol_lib.predict_all(
            (protocol_lib.parse(PROTOCOL),),
            assembled.graphdef,
            assembled.params,
            assembled.batch_stats,
            np.ascontiguousarray(pixels),
            resolution="features",
            flip=False,
        )
        mask = read(predicted / "masks" / f"{name}.png")
        expected = np.array([7, 23, 17])[np.argmax(output.logits[0], -1)]
        assert mask.shape == pixels.shape[1:3]
        assert (mask == expected).mean() > 0.999  # rounding may decide a tie
        probability = np.asarray(jax.nn.softmax(output.logits[0])).max(-1)
        stored = read(predicted / "probability" / f"{name}.png")
        assert np.abs(stored - 255 * probability).max() < 0.6


def test_every_kind_is_there_and_fits(predicted):
    names = ["Straße/b", "Straße/c", "a"]
    for folder, suffix in (("masks", "png"), ("color", "png"), ("overlay", "jpg")):
        found = sorted((predicted / folder).rglob(f"*.{suffix}"))
        assert [
            p.relative_to(predicted / folder).with_suffix("").as_posix() for p in found
        ] == names
        assert [read(p).shape[:2] for p in found] == [SIZES[1], SIZES[2], SIZES[0]]
    mask, colour = (read(predicted / kind / "a.png") for kind in ("masks", "color"))
    for value, rgb in zip((7, 23, 17), SPEC.palette, strict=True):
        assert (colour[mask == value] == rgb[::-1]).all()
    shares = [read(predicted / "shares" / scale / "a.png").astype(int) for scale in ("0.5", "1")]
    assert np.abs(sum(shares) - 255).max() <= 1
    assert read(predicted / "scales" / "a.png").shape[2] == 3
    legend = (predicted / "legend.svg").read_text()
    for name, rgb in zip(SPEC.names, SPEC.palette, strict=True):
        assert f">{html.escape(name)}<" in legend
        assert "#" + bytes(rgb).hex() in legend
    assert json.loads((predicted / "predict.json").read_text())["protocol"] == (
        "hierarchical (0.5, 1)"
    )
    assert not list(predicted.rglob("*.partial"))


def test_what_cannot_be_read_is_named_and_the_others_are_done(run, images, tmp_path, capsys):
    root, out = tmp_path / "mixed", tmp_path / "out"
    shutil.copytree(images, root)
    (root / "no.bmp").write_bytes(b"no picture")
    (root / "cut.png").write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3)))[1].tobytes()[:60])
    cv2.imwrite(str(root / "DOT.png"), np.zeros((1, 1, 3), np.uint8))
    os.mkfifo(root / "pipe.png")
    for _ in range(2):  # the second time only what is left is tried
        with pytest.raises(ValueError, match=r"^3 of 6 images cannot be read") as error:
            do(run, root, out)
        assert [line.partition(": ")[0].strip() for line in str(error.value).splitlines()[1:]] == [
            str(root / "DOT.png"),
            str(root / "cut.png"),
            str(root / "no.bmp"),
        ]
        assert "DOT.png: scale 0.5 leaves nothing of an image of 1 x 1" in str(error.value)
        assert "no.bmp: expected a JPEG, PNG, TIFF, WebP or BMP file, got 10" in str(error.value)
        assert len(list((out / "masks").rglob("*.png"))) == 3
    assert "pipe.png" in capsys.readouterr().out
    (root / "no.bmp").unlink()
    (root / "cut.png").unlink()
    (root / "DOT.png").unlink()
    lines = (out / "predicted-00000.jsonl").read_text().splitlines()
    assert do(run, root, out)
    assert (out / "predicted-00000.jsonl").read_text().splitlines() == lines


def test_a_stopped_command_goes_on(run, images, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(preemption.Preemption, "requested_of_any", lambda self: True)
        assert not do(run, images, out)
    first = list((out / "masks").rglob("*.png"))
    times = [path.stat().st_mtime_ns for path in first]
    assert 1 <= len(first) < 3
    assert f"Stopped with {len(first)} of 3 images done." in capsys.readouterr().out
    assert do(run, images, out)
    assert len(list((out / "masks").rglob("*.png"))) == 3
    assert [path.stat().st_mtime_ns for path in first] == times


def test_a_run_that_was_trained_again_is_another(run, images, predicted, tmp_path):
    """The same path and step, other weights."""
    again = tmp_path / "again"
    shutil.copytree(predicted, again)
    settings = json.loads((again / "predict.json").read_text())
    (again / "predict.json").write_text(json.dumps(settings | {"weights": "0" * 32}))
    with pytest.raises(ValueError, match=f"weights: '{'0' * 32}' there, '{settings['weights']}'"):
        do(run, images, again, save=KINDS)
    del settings["weights"]  # as an earlier version wrote them
    (again / "predict.json").write_text(json.dumps(settings))
    assert do(run, images, again, save=KINDS)


def test_images_that_are_gone_are_not_counted(run, images, tmp_path, monkeypatch, capsys):
    root, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(images, root)
    assert do(run, root, out)
    (root / "Straße").rename(root / "Weg")
    with monkeypatch.context() as patch:
        patch.setattr(preemption.Preemption, "requested_of_any", lambda self: True)
        assert not do(run, root, out)
    assert "Stopped with 2 of 3 images done." in capsys.readouterr().out
    assert do(run, root, out)
    assert "also holds 2 images that --images no longer has" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "names"),
    [("a.jpg", ["a"]), ("Straße", ["b", "c"]), ("**/*.[Tw]*", ["Straße/b", "Straße/c"])],
)
def test_a_file_a_directory_or_a_pattern(run, images, tmp_path, what, names, monkeypatch):
    monkeypatch.chdir(images)
    assert do(run, what, tmp_path / "out")
    found = sorted((tmp_path / "out" / "masks").rglob("*.png"))
    got = [path.relative_to(tmp_path / "out" / "masks").with_suffix("") for path in found]
    assert [path.as_posix() for path in got] == names
    shutil.copytree(images, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(
        ValueError, match=r"made in another way.*\n  images: '/.*' there, '/.*' here"
    ):
        do(run, what, tmp_path / "out")


def test_a_turned_photo_has_a_mask_as_it_is_shown_or_as_it_is_stored(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    for upright, size in ((True, (56, 40)), (False, (40, 56))):
        out = tmp_path / f"out-{upright}"
        assert do(run, tmp_path / "a.jpg", out, upright=upright, protocol="single")
        assert read(out / "masks" / "a.png").shape == size


def test_errors_come_before_anything_is_compiled(run, images, predicted, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("compiled")

    monkeypatch.setattr(predict, "work_through", refuse)
    (tmp_path / "thesis.tex").touch()
    (tmp_path / "twice").mkdir()
    for suffix in ("jpg", "png"):
        (tmp_path / "twice" / f"a.{suffix}").touch()
    for where, out, options, message in (
        (images / "none", tmp_path / "o", {}, "none: there is no such file or directory"),
        (images, images / "out", {}, "--out is .*out, inside of --images"),
        (images, images, {}, "--out is .*, inside of --images"),
        (f"{glob.escape(str(images))}/**/*.jpg", images / "out", {}, "inside of --images"),
        (images / "a.jpg", images, {}, "--out is .*, where .* of --images lies"),
        (images, tmp_path, {}, "holds other files"),
        (images, predicted, {"protocol": "single"}, r"protocol: 'hierarchical \(0.5, 1\)' there"),
        (images, tmp_path / "o", {"protocol": "explicit:0.5,1"}, "model.attention is"),
        (images, tmp_path / "o", {"protocol": "hierarchical:0.001,1"}, "scale 0.001 leaves"),
        (images, tmp_path / "o", {"step": 9}, "--step is 9"),
        (tmp_path / "twice", tmp_path / "o", {}, "same name with other suffixes"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            do(run, where, out, **options)
        assert not (tmp_path / "o").exists()
        assert not (images / "out").exists()
    with pytest.raises(ValueError, match="--save is 'masks'; expected some of mask,color"):
        parse_kinds("masks")


CITY = "berlin_000000_00000{}_leftImg8bit.png"


@pytest.fixture
def small_server(monkeypatch):
    """A server that wants three images of 40 x 56 pixels."""
    monkeypatch.setattr(submission, "_IMAGES", 3)
    monkeypatch.setattr(submission, "_SIZE", (40, 56))


def test_a_submission_has_label_ids_and_the_names_of_the_images(tmp_path, small_server):
    config = a_config()
    config.data.name = "cityscapes"
    workdir, out, root = tmp_path / "run", tmp_path / "out", tmp_path / "test"
    assembled = experiment.assemble(config, label_spec=cityscapes.LABEL_SPEC)
    run_directory.claim(workdir, config, cityscapes.LABEL_SPEC)
    with checkpoint.Checkpoints(workdir, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 1)
    for i in range(3):
        path = root / ("berlin" if i else "bonn") / CITY.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(i).integers(0, 256, (40, 56, 3), np.uint8))
    options = {"protocol": "single", "server": "cityscapes"}
    assert do(workdir, root, out, **options)
    with zipfile.ZipFile(out / "submission.zip") as archive:
        assert archive.namelist() == [CITY.format(i) for i in (1, 2, 0)]
        masks = [
            cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
            for name in archive.namelist()
        ]
    ids = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33}
    for mask in masks:
        assert mask.shape == (40, 56)
        assert set(mask.ravel().tolist()) <= ids

    cv2.imwrite(str(root / "bonn" / "other.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"would refuse:\n  there are 4 .*\n  1 images are called"):
        do(workdir, root, tmp_path / "again", **options)
    (root / "bonn" / "other.png").unlink()
    cv2.imwrite(str(root / "bonn" / CITY.format(0)), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="1 images are not of 56 x 40 pixels: berlin"):
        do(workdir, root, tmp_path / "again", **options)
    assert not (tmp_path / "again").exists()


def test_a_run_of_other_classes_has_no_submission(run, images, tmp_path):
    with pytest.raises(ValueError, match=r"would refuse:\n  class 1 is 'sky .blue.' there and"):
        do(run, images, tmp_path / "out", server="cityscapes")
    with pytest.raises(ValueError, match="--submission is 'kitti'; expected one of cityscapes"):
        do(run, images, tmp_path / "out", server="kitti")


def test_tiles_say_what_the_whole_image_says(run, images, predicted, tmp_path, capsys):
    """All images are smaller than a tile, which therefore sees all that there is of them."""
    config = run_directory.resolve(run, None, {"evaluate.tile": 128, "evaluate.tile_above": 2500})
    out = tmp_path / "out"
    assert predict.predict(config, run, str(images), out, save=KINDS, protocol=PROTOCOL)
    assert "a: 48 x 64 pixels, 2 tiles." in capsys.readouterr().out  # of two scales
    for kind in ("masks", "shares/0.5", "probability"):
        for name in ("a", "Straße/b", "Straße/c"):
            tiled, whole = (
                cv2.imread(str(root / kind / f"{name}.png"), cv2.IMREAD_UNCHANGED).astype(int)
                for root in (out, predicted)
            )
            assert np.abs(tiled - whole).max() <= (0 if kind == "masks" else 1)


def test_a_tile_that_cannot_be(run, images, tmp_path):
    with pytest.raises(ValueError, match="--tile is 100; expected a multiple of 128"):
        do(run, images, tmp_path / "out", tile=100)
    with pytest.raises(ValueError, match=r"--tile is 128, .* at 40 % chooses among the places of"):
        do(run, images, tmp_path / "out", tile=128, protocol="hierarchical:0.5,1,2@40%")


def test_outside_of_its_window_the_highest_scale_has_no_share(run, images, tmp_path):
    out = tmp_path / "out"
    way = "hierarchical:0.5,1,2@40%"
    assert do(run, images / "a.jpg", out, save=("mask", "shares", "scales"), protocol=way)
    shares = [read(out / "shares" / s / "a.png").astype(int) for s in ("0.5", "1", "2")]
    assert np.abs(sum(shares) - 255).max() <= 2
    assert 0.2 < (shares[2] == 0).mean() < 0.8
    name = json.loads((out / "predict.json").read_text())["protocol"]
    assert protocol_lib.of_name(name) == protocol_lib.parse(way)


def test_an_image_whose_maps_no_machine_holds(run, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(tmp_path / "large.png")
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    monkeypatch.setattr(predict.feasibility, "_machine_memory", lambda: 10**12)
    with pytest.raises(ValueError, match=r"large.*maps of its 200 x 200 pixels would take"):
        do(run, tmp_path / "large.png", tmp_path / "out", tile=128)
