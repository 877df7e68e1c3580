"""Auto-labelling: labels against numpy, the data set that comes out, stopping and going on."""

import dataclasses
import json
import pathlib
import re
import shutil

import cv2
import jax
import numpy as np
import pytest

from configs import street_scenes
from data import cityscapes, folder, registry
from data.label_spec import LabelSpec
from hmsa_jax.auto_labels import labelling, thresholds
from hmsa_jax.auto_labels import summary as summary_lib
from hmsa_jax.auto_labels.labelled_images import Labelled, LabelledImages, Prediction
from hmsa_jax.distributed import preemption
from hmsa_jax.experiment import autolabel, check_data, experiment, run_directory
from hmsa_jax.inference.protocol import parse
from hmsa_jax.input import decoding
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import multiscale
from hmsa_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("short_trunk")

ROOT = pathlib.Path(__file__).parents[2]
SIZES = [(48, 64)] * 9 + [(40, 56)] * 2
PROTOCOL = "hierarchical:0.5,1"
THRESHOLD = 0.15


def config():
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.data.batch_size = 1  # no multiple of the eight devices: that matters to training alone
    config.model.ocr_channels = 16
    config.model.ocr_key_channels = 8
    config.model.head_channels = 8
    config.evaluate.images_per_device = 1
    config.evaluate.canvases = 1
    return config


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run with one checkpoint."""
    workdir = tmp_path_factory.mktemp("teacher")
    assembled = experiment.assemble(config())
    run_directory.claim(workdir, config(), assembled.label_spec)
    with checkpoint.Checkpoints(workdir, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), 0)
    return workdir


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eleven images in two folders, of two sizes, one of them a PNG."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        image = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), size[::-1])
        path = root / f"city{i % 2}" / f"street{i}.{'png' if i == 3 else 'jpg'}"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), image)
    return root


@pytest.fixture(scope="module")
def labelled(teacher, images, tmp_path_factory):
    """What the command makes of the images, after it was told to stop once."""
    out = tmp_path_factory.mktemp("labelled") / "out"
    assert run(teacher, images, out, previews=True)
    return out


def run(teacher, images, out, **options):
    options = {"threshold": THRESHOLD, "protocol": PROTOCOL} | options
    return autolabel.autolabel(config(), teacher, str(images), out, **options)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names_of(images):
    return sorted(str(path.relative_to(images).with_suffix("")) for path in images.glob("*/*"))


def test_labels_are_those_of_numpy(teacher, images, labelled):
    """One image at a time, with the mirror image, and softmax in numpy; they share a canvas."""
    assembled = experiment.assemble(config())
    protocol = parse(PROTOCOL)

    @jax.jit
    def predict(image):
        outputs, _ = multiscale.apply(
            assembled.graphdef,
            assembled.params,
            assembled.batch_stats,
            normalize(image[None]),
            protocol.scales,
            train=False,
        )
        return protocol.predict(outputs, image.shape[:2], "features")[0]

    kept = []
    for name in names_of(images):
        path = next(images.glob(f"{name}.*"))
        image = decoding.decode_image({"image": path.read_bytes(), "id": name})
        logits = np.float64(predict(image)) + np.float64(predict(image[:, ::-1]))[:, ::-1]
        exponentials = np.exp(logits / 2)
        probability = exponentials.max(-1) / exponentials.sum(-1)
        mask = read(labelled / "masks" / "train" / f"{name}.png")
        stored = read(labelled / "probabilities" / "train" / f"{name}.png")
        assert mask.dtype == stored.dtype == np.uint8
        assert np.abs(stored - 255 * probability).max() < 0.6  # half of it is rounding to 8 bits
        clear = np.abs(probability - THRESHOLD) > 1e-3
        np.testing.assert_array_equal((mask < 255)[clear], (probability > THRESHOLD)[clear])
        differing = (mask != exponentials.argmax(-1)) & (mask < 255)
        assert differing.mean() < 1e-3  # rounding may decide a tie between two classes
        kept.append((mask < 255).mean())
    assert 0.05 < np.mean(kept) < 0.95  # the threshold decides something


def test_the_result_is_a_data_set_to_train_on(images, labelled, tmp_path):
    builder = registry.prepare("folder", str(labelled), str(tmp_path))
    source = registry.open_source(builder, "train")
    assert sorted(record["id"] for record in source) == names_of(images)
    assert (
        registry.get("folder", str(labelled)).label_spec.names == street_scenes_label_spec().names
    )
    for record in source:
        image, label = decoding.decode(record)
        assert image.shape[:2] == label.shape
        mask = read(labelled / "masks" / "train" / f"{record['id']}.png")
        np.testing.assert_array_equal(label, mask)
    checked = config()
    checked.data.name, checked.data.dir = "folder", str(labelled)
    assert check_data.check_data(checked)


def street_scenes_label_spec():
    return registry.get("street_scenes").label_spec


def test_images_are_links_to_the_originals(images, labelled):
    for name in names_of(images):
        (original,) = images.glob(f"{name}.*")
        assert (labelled / "images" / "train" / f"{name}{original.suffix}").samefile(original)


def test_previews_show_image_and_colours(images, labelled):
    preview = read(labelled / "previews" / "train" / "city0" / "street0.jpg")
    assert preview.shape == (48, 128, 3)
    image = read(images / "city0" / "street0.jpg")
    assert np.abs(preview[:, :64].astype(int) - image).mean() < 4
    mask = read(labelled / "masks" / "train" / "city0" / "street0.png")
    palette = np.zeros((256, 3), int)
    palette[:11] = street_scenes_label_spec().palette
    assert np.abs(preview[:, 64:, ::-1] - palette[mask]).mean() < 12  # it is a JPEG


def test_the_report_is_a_count_of_the_masks(labelled):
    report = json.loads((labelled / "report.json").read_text())
    masks = [read(path) for path in (labelled / "masks").rglob("*.png")]
    pixels = np.concatenate([mask.ravel() for mask in masks])
    assert report["images"] == len(masks) == len(SIZES)
    assert report["pixels"] == pixels.size
    assert report["share_kept"] == pytest.approx((pixels < 255).mean())
    assert sum(figures["predicted"] for figures in report["classes"].values()) == pixels.size
    for number, figures in enumerate(report["classes"].values()):
        assert figures["kept"] == (pixels == number).sum()
        assert figures["images"] == sum((mask == number).any() for mask in masks)
    stored = [*(labelled / "masks").rglob("*.png"), *(labelled / "probabilities").rglob("*.png")]
    assert report["bytes"]["stored"] == sum(path.stat().st_size for path in stored)
    assert report["bytes"]["soft"] == pixels.size * 11 * 4
    assert report["bytes"]["soft_for_the_paper"] == 20_000 * 2048 * 1024 * 19 * 4


def test_it_goes_on_where_it_was(teacher, images, labelled):
    """A mask that is missing and a line that was cut short are made again, and nothing else."""
    record = labelled / "labelled-00000.jsonl"
    lines = record.read_text().splitlines(keepends=True)
    report = (labelled / "report.json").read_text()
    torn, lost = (json.loads(line)["id"] for line in (lines[-1], lines[0]))
    record.write_text("".join(lines)[:-20])
    masks = {name: labelled / "masks" / "train" / f"{name}.png" for name in names_of(images)}
    before = {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in masks.items()}
    masks[lost].unlink()
    (labelled / "report.json").unlink()

    assert run(teacher, images, labelled, previews=True)
    assert (labelled / "report.json").read_text() == report
    for name, path in masks.items():
        time, content = before[name]
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == time) == (name not in (torn, lost))
    assert not list(labelled.rglob("*.partial"))


def test_images_that_are_gone_are_not_counted(teacher, images, labelled, tmp_path, monkeypatch):
    root, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(images, root)
    shutil.copytree(labelled, out)
    settings = json.loads((out / "autolabel.json").read_text())
    (out / "autolabel.json").write_text(json.dumps(settings | {"images": str(root)}))
    for city in ("city0", "city1"):
        (root / city).rename(root / f"new {city}")
    told = []
    monkeypatch.setattr(autolabel, "tell", lambda text, style=None: told.append(text))
    with monkeypatch.context() as patch:
        patch.setattr(preemption.Preemption, "requested_of_any", lambda self: True)
        assert not run(teacher, root, out)
    assert re.search(r"Stopped with ([1-9]|10) of 11 images labelled", told[-1])
    assert run(teacher, root, out)
    assert any("labels of 11 images that --images no longer has" in text for text in told)


def test_processes_share_the_images(teacher, images, labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert not run(teacher, images, tmp_path / "out")
    assert not (tmp_path / "out" / "report.json").exists()
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == len(SIZES) // 2
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    assert run(teacher, images, tmp_path / "out")
    both, alone = (
        json.loads((path / "report.json").read_text()) for path in (tmp_path / "out", labelled)
    )
    assert both == alone


def test_a_data_set_is_labelled_by_split(teacher, images, tmp_path, monkeypatch):
    """Its own labels are not looked at, and images are copied out of it."""
    root = tmp_path / "own"
    for kind in ("images", "masks"):
        (root / kind / "validation").mkdir(parents=True)
    picture = (images / "city0" / "street0.jpg").read_bytes()
    (root / "images" / "validation" / "one.jpg").write_bytes(picture)
    cv2.imwrite(str(root / "masks" / "validation" / "one.png"), np.full((48, 64), 255, np.uint8))
    label_spec = street_scenes_label_spec()
    (root / "classes.json").write_text(folder.classes_text(label_spec))
    own = config()
    own.data.name, own.data.dir, own.data.cache_dir = "folder", str(root), str(tmp_path / "cache")
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "checkpoints").symlink_to(teacher / "checkpoints")
    options = {"threshold": THRESHOLD, "protocol": "single", "flip": False}
    with pytest.raises(ValueError, match="has no split 'train'"):
        autolabel.autolabel(own, workdir, "folder/train", tmp_path / "out", **options)
    assert autolabel.autolabel(own, workdir, "folder/validation", tmp_path / "out", **options)
    assert (tmp_path / "out" / "images" / "train" / "one.jpg").read_bytes() == picture


def test_a_share_of_each_class_is_kept(teacher, images, labelled, tmp_path, monkeypatch):
    """By what some images tell; of each class as much, the surest, and a stop changes nothing."""
    out = tmp_path / "out"
    monkeypatch.setattr(labelling, "label", lambda *_, **__: [])  # stopped at once
    assert not run(teacher, images, out, threshold="60%")
    settings = json.loads((out / "autolabel.json").read_text())
    monkeypatch.undo()
    monkeypatch.setattr(thresholds, "histogram", None)  # what is there is not found again
    assert run(teacher, images, out, threshold="60%")
    assert settings == json.loads((out / "autolabel.json").read_text())
    report = json.loads((out / "report.json").read_text())["classes"]
    masks, probabilities, all_kept = [], [], tmp_path / "all"
    assert run(teacher, images, all_kept, threshold=0.0)
    for name in names_of(images):
        path = f"train/{name}.png"
        predicted, mask = (read(place / "masks" / path).ravel() for place in (all_kept, out))
        probability = read(out / "probabilities" / path).ravel()
        assert set(mask[mask != predicted]) <= {255}
        masks.append(np.stack([predicted, mask]))
        probabilities.append(probability)
    (predicted, mask), probability = np.concatenate(masks, 1), np.concatenate(probabilities)
    for number, (name, least) in enumerate(settings["least"].items()):
        of_class = predicted == number
        if not of_class.any():
            continue
        np.testing.assert_array_equal(mask[of_class] == number, probability[of_class] >= least)
        assert (mask[of_class] == number).mean() >= 0.6
        assert (probability[of_class] > least).mean() < 0.6
        assert report[name]["least_probability"] == round(least / 255, 3)
    with pytest.raises(ValueError, match="threshold: '60%' there, '70%' here"):
        run(teacher, images, out, threshold="70%")
    first = next(iter(settings["least"]))
    for damaged in (5, {first: 9}, settings["least"] | {first: 256}, {}):
        (out / "autolabel.json").write_text(json.dumps(settings | {"least": damaged}))
        with pytest.raises(ValueError, match=r"autolabel\.json is damaged \('least' is .* another"):
            run(teacher, images, out, threshold="60%")


def test_classes_that_no_image_shows_have_the_threshold_of_all():
    counts = np.zeros((3, 256), np.int64)
    counts[0, 200:210] = 1
    counts[2, 100] = 10
    assert thresholds.least_bytes(0.5, counts) == [205, 200, 100]
    assert thresholds.least_bytes(1.0, counts) == [200, 100, 100]
    assert thresholds.least_bytes(0.5, np.zeros((1, 256), np.int64)) == [255]


def test_the_sample_is_spread_over_the_images():
    assert thresholds.sample(3) == [0, 1, 2]
    numbers = thresholds.sample(1000)
    assert len(numbers) == thresholds.SAMPLE
    assert set(np.diff(numbers)) == {5}


# What is refused.


@pytest.mark.parametrize("threshold", ["0%", "101%", "%", "x", "0.9"])
def test_an_impossible_share(teacher, images, tmp_path, threshold):
    with pytest.raises(ValueError, match=r"--threshold is .* from above 0% to 100%"):
        run(teacher, images, tmp_path / "out", threshold=threshold)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_an_impossible_threshold(teacher, images, tmp_path, threshold):
    with pytest.raises(ValueError, match=r"--threshold is .* \[0, 1\)"):
        run(teacher, images, tmp_path / "out", threshold=threshold)
    assert not (tmp_path / "out").exists()


def test_a_run_without_checkpoint(images, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"--workdir is .* holds no checkpoint"):
        run(tmp_path / "none", images, tmp_path / "out")


def test_attention_that_the_teacher_does_not_have(teacher, images, tmp_path):
    with pytest.raises(ValueError, match=r"the run's model.attention is 'hierarchical'"):
        run(teacher, images, tmp_path / "out", protocol="explicit:0.5,1")


def test_images_that_are_not_there(teacher, images, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a directory of images"):
        run(teacher, images / "nowhere", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"expected images .* found none"):
        run(teacher, tmp_path, tmp_path.parent / "out")
    with pytest.raises(ValueError, match="expected a split, like street_scenes/train"):
        run(teacher, "street_scenes", tmp_path / "out")


def test_two_images_of_one_name(teacher, images, tmp_path):
    for suffix in ("jpg", "png"):
        (tmp_path / f"a.{suffix}").write_bytes((images / "city0" / "street0.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"the same name with other suffixes: .*a\.\w+, .*a\.\w+;"):
        run(teacher, tmp_path, tmp_path.parent / "twice")


def test_a_result_among_the_images(teacher, images):
    with pytest.raises(ValueError, match="inside of --images"):
        run(teacher, images, images / "labels")


def test_a_directory_that_holds_something_else(teacher, images, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds other files; name a new directory as --out"):
        run(teacher, images, tmp_path)


def test_a_directory_of_other_labels(teacher, images, labelled):
    with pytest.raises(ValueError, match=rf"threshold: {THRESHOLD} there, 0.5 here"):
        run(teacher, images, labelled, threshold=0.5)
    otherwise = config()
    otherwise.evaluate.fusion_resolution = "image"
    with pytest.raises(ValueError, match="fusion_resolution: 'features' there, 'image' here"):
        autolabel.autolabel(
            otherwise, teacher, str(images), labelled, threshold=THRESHOLD, protocol=PROTOCOL
        )


def test_a_directory_of_an_earlier_version_goes_on(tmp_path):
    """Its settings do not have the resolution, which was that of the features."""
    spec, out = street_scenes_label_spec(), tmp_path / "out"
    LabelledImages(out, spec, {"step": 1}, previews=False)
    LabelledImages(out, spec, {"step": 1, "fusion_resolution": "features"}, previews=False)
    with pytest.raises(ValueError, match="fusion_resolution: 'features' there, 'image' here"):
        LabelledImages(out, spec, {"step": 1, "fusion_resolution": "image"}, previews=False)


def test_images_that_cannot_be_read_are_named_when_the_others_are_done(teacher, images, tmp_path):
    """By their header, by their content, by their link; and tried again."""
    root, out = tmp_path / "some [bad]", tmp_path / "out"
    root.mkdir()
    good = images / "city0" / "street0.jpg"
    (root / "good.jpg").write_bytes(good.read_bytes())
    (root / "nothing.jpg").write_bytes(b"nothing")
    png = bytearray((images / "city1" / "street3.png").read_bytes())
    png[60:] = bytes(len(png) - 60)
    (root / "zeros.png").write_bytes(png)
    bad = [root / "nothing.jpg", root / "zeros.png"]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^2 of 3 images cannot be read") as error:
            run(teacher, root, out)
        assert [line.partition(":")[0].strip() for line in str(error.value).splitlines()[1:]] == [
            str(path) for path in bad
        ]
        assert [path.name for path in (out / "masks" / "train").iterdir()] == ["good.png"]
        assert json.loads((out / "report.json").read_text())["images"] == 1
    for path in bad:
        path.unlink()
        path.with_suffix(".jpg").write_bytes(good.read_bytes())
    assert run(teacher, root, out)
    assert json.loads((out / "report.json").read_text())["images"] == 3


def test_only_images_that_cannot_be_read(teacher, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / "nothing.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"^1 of 1 images .*\n  {root}/nothing.jpg: "):
        run(teacher, root, tmp_path / "out")


def test_two_processes_of_one_index(tmp_path):
    def open_it():
        return LabelledImages(tmp_path / "out", street_scenes_label_spec(), {}, previews=False)

    with (
        open_it(),
        pytest.raises(ValueError, match="in use by another process"),
        open_it(),
    ):
        pass


# The directory by itself.


@pytest.mark.parametrize(
    "label_spec",
    [
        cityscapes.LABEL_SPEC,
        LabelSpec.of_train_ids(("a", "b"), ((1, 2, 3), (4, 5, 6))),
        LabelSpec.of_raw_values(("a", "b"), ((1, 2, 3), (4, 5, 6)), (255, 0), ()),
    ],
)
def test_masks_hold_the_values_of_the_label_spec(label_spec, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, len(label_spec.names), (6, 7), np.uint8)
    kept = rng.random((6, 7)) < 0.5
    _, encoded = cv2.imencode(".png", np.zeros((6, 7, 3), np.uint8))
    record = {"image": encoded.tobytes(), "id": "a/b"}
    with LabelledImages(tmp_path / "out", label_spec, {}, previews=False) as target:
        target.record(target.write(record, Prediction(classes, classes, kept), None))
        assert list(target.done()) == ["a/b"]
    again = folder.read_classes(tmp_path / "out" / "classes.json")
    assert (again.names, again.palette) == (label_spec.names, label_spec.palette)
    mask = read(tmp_path / "out" / "masks" / "train" / "a" / "b.png")
    expected = np.where(kept, classes, 255)
    np.testing.assert_array_equal(np.frombuffer(again.table, np.uint8)[mask], expected)
    np.testing.assert_array_equal(np.frombuffer(label_spec.table, np.uint8)[mask], expected)
    assert set(mask.ravel()) <= set(again.values)
    if label_spec is cityscapes.LABEL_SPEC:
        assert set(mask.ravel()) <= set(
            label_spec.values
        )  # the owners' ids, also where it is ignored


def test_the_papers_arithmetic():
    one = Labelled("a", 1024, 2048, [1024 * 2048, 0], [1024 * 1024, 0], 100_000)
    summary = summary_lib.summarize([one, dataclasses.replace(one, id="b")], ("road", "sky"))
    assert summary["share_kept"] == 0.5
    assert summary["classes"]["sky"]["share_kept"] is None
    assert summary["bytes"]["stored_for_the_paper"] == 20_000 * 100_000
    assert "2 GB against 3.19 TB" in summary_lib.describe_bytes(summary)
