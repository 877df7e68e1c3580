"""Commands refuse what cannot be right before they write or compile anything."""

import json
import shutil

import cv2
import jax
import numpy as np
import pytest

from configs import street_scenes
from data import folder, registry
from hmsa_jax.auto_labels import labelled_images, labelling
from hmsa_jax.experiment import (
    autolabel,
    backends,
    convert,
    evaluation,
    experiment,
    monitoring,
    protocols,
    run_directory,
    train,
)
from hmsa_jax.inference.evaluation import Evaluation
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.training import checkpoint, training_record
from hmsa_jax.training.training_record import TrainingRecord

pytestmark = pytest.mark.usefixtures("short_trunk")

CLASSES = ("road", "sky", "pole")


@pytest.fixture(autouse=True)
def nothing_is_compiled(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("compiled")

    monkeypatch.setattr(train, "_run_steps", refuse)
    monkeypatch.setattr(evaluation, "prepare", refuse)
    monkeypatch.setattr(labelling, "label", refuse)


def no_scoring(experiment, scored):
    """Stands for `evaluation.prepare`: counts of one image, whose pixels are all right."""
    names = [protocol.name for protocol in protocols.of_evaluation(experiment.config)]
    counts = np.stack([np.eye(len(CLASSES), dtype=np.int32)] * len(names))[None]
    confusions = ImageConfusions(("a",), tuple(names), CLASSES, counts)
    return lambda params, batch_stats, stops_after: Evaluation(confusions, {})


def write_classes(root, names=CLASSES):
    """The labels hold 0, 1 and 2; a class that is not in `CLASSES` has what is left."""
    left = [number for number, name in enumerate(CLASSES) if name not in names]
    ids = [CLASSES.index(name) if name in CLASSES else left.pop() for name in names]
    entries = [{"name": name, "id": number} for name, number in zip(names, ids, strict=True)]
    (root / "classes.json").write_text(json.dumps({"classes": entries}))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder data set of 48 x 64 pixels, whose test split has no masks."""
    root = tmp_path_factory.mktemp("pictures")
    write_classes(root)
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(root / "images" / split / "a.png"), image)
        if split != "test":
            mask = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 3
            cv2.imwrite(str(root / "masks" / split / "a.png"), mask)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def config(pictures, cache):
    return config_of(pictures, cache)


def config_of(pictures, cache):
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.data.name, config.data.dir = "folder", str(pictures)
    config.data.cache_dir = str(cache)
    config.data.batch_size, config.data.crop_size = 8, (32, 64)
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    config.steps = 1
    return config


@pytest.fixture(scope="module")
def finished(pictures, cache, tmp_path_factory):
    """A run with a checkpoint of its last step."""
    config = config_of(pictures, cache)
    workdir = tmp_path_factory.mktemp("finished")
    assembled = experiment.assemble(config)
    run_directory.claim(workdir, config, assembled.label_spec)
    with checkpoint.Checkpoints(workdir, keep=1) as checkpoints:
        checkpoints.save(assembled.initial_state(), config.steps)
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


WRONG = {
    "data.batch_size": (12, r"data\.batch_size is 12; it must be a multiple of the 8 devices"),
    "data.train_split": ("training", r"data\.train_split is 'training': folder has no split"),
    "data.eval_split": ("val", r"data\.eval_split is 'val': folder has no split 'val'"),
    "data.workers": (10**9, r"data\.workers=1000000000, each"),
    "evaluate.protocols": (("explicit:0.5,1",), r"evaluate\.protocols need attention of another"),
    "evaluate.every": (
        "0.1 epochs",
        r"evaluate\.every is '0\.1 epochs', which is less than a step",
    ),
    "evaluate.images_per_device": (10**9, r"evaluate\.images_per_device=1"),
    "init_from": ("/nowhere", r"init_from is /nowhere, which holds no checkpoint"),
    "objective.rmi.pool": (64, r"data\.crop_size, objective\.rmi: 32 x 64 pixels are 1 x 2 after"),
    "data.pool.name": ("street_scenes", r"data\.pool\.name is 'street_scenes', whose classes"),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_failed_start_leaves_no_directory(config, tmp_path, field):
    value, message = WRONG[field]
    config.objective.main_loss = "rmi"
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_best_checkpoint_is_chosen_by_what_is_evaluated(config, tmp_path):
    config.evaluate.every, config.evaluate.protocols = 1, ("single",)
    for text in ("average:0.5,1", "explicit:0.5,1"):
        config.checkpoint.keep_best = text
        with pytest.raises(ValueError, match=r"keep_best is .*, which is none .*: single \(1\); "):
            train.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_epochs_are_counted_in_images(config, tmp_path, capsys):
    """Of one image; and a run that began keeps its number of steps."""
    config.steps, config.epochs = 0, 7.9
    with pytest.raises(ValueError, match=r"epochs is 7\.9, which is less than a step: .* 1 images"):
        train.train(config, tmp_path / "run")
    config.epochs = 20.0
    plan = monitoring.length_of(config, 1)
    assert plan.steps == 2
    config.steps, config.epochs = 2, 0.0  # a run in steps goes on all the same
    other = monitoring.length_of(config, 7)
    training_record.write(tmp_path, TrainingRecord(monitoring.length_of(config, 5)))
    monitoring.check_length(tmp_path, config, other)
    said = " ".join(capsys.readouterr().out.split())
    assert "began with 5 images of data.train_split, which has 7 now" in said
    config.steps, config.epochs = 0, 20.0
    config.profile = "3:4"
    with pytest.raises(ValueError, match="profile is '3:4', but the run has 2 steps"):
        monitoring.length_of(config, 1)
    config.profile = ""
    (tmp_path / "run").mkdir()
    training_record.write(tmp_path / "run", TrainingRecord(monitoring.length_of(config, 2)))
    with pytest.raises(ValueError, match=r"epochs=20 of 2 images, 5 steps, .* 1 images .* make 2;"):
        train.train(config, tmp_path / "run")


def test_what_is_scored_has_labels(config, run):
    config.data.eval_split = "test"
    for command in (train.train, evaluation.evaluate):
        with pytest.raises(ValueError, match=r"data\.eval_split is 'test', whose 1 images have no"):
            command(config, run)


def test_classes_in_another_order_are_refused_by_every_command(config, run, pictures, tmp_path):
    """The weights are the same, so that all scores would be wrong and nothing would tell."""
    root = tmp_path / "reordered"
    root.mkdir()
    for kind in ("images", "masks"):
        (root / kind).symlink_to(pictures / kind)
    write_classes(root, ("sky", "road", "pole"))
    config.data.dir = str(root)
    out, file = tmp_path / "out", tmp_path / "weights.pth"
    commands = [
        lambda: train.train(config, run),
        lambda: evaluation.evaluate(config, run),
        lambda: convert.convert_to(config, run, file),
        lambda: convert.convert_from(config, run, file),
        lambda: autolabel.autolabel(config, run, str(pictures / "images"), out, threshold=0.9),
    ]
    for command in commands:
        with pytest.raises(ValueError, match="class 0 is 'road' there and 'sky' here") as error:
            command()
        assert "class 1 is 'sky' there and 'road' here" in str(error.value)
        assert "pole" not in str(error.value)
    assert not out.exists()
    assert not file.exists()


def test_a_run_goes_on_without_the_one_that_it_started_from(config, run, monkeypatch):
    monkeypatch.setattr(evaluation, "prepare", no_scoring)
    config.init_from = "/gone"
    path = run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"init_from": "/gone"}))
    assert train.train(config, run)
    assert list((run / "evaluation").glob("validation-*.json"))


def test_a_run_does_not_start_without_the_weights_that_it_was_promised(config, tmp_path):
    label_spec = registry.get("folder", config.data.dir).label_spec
    run_directory.claim(tmp_path / "new", config, label_spec, weights_of=tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"begin with the weights of .*a\.pth"):
        train.train(config, tmp_path / "new")


def test_outputs_of_other_classes_are_taken_over_by_name(
    config, run, tmp_path, monkeypatch, capsys
):
    root = tmp_path / "others"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for split in ("train", "validation"):
            (root / kind / split).symlink_to(f"{config.data.dir}/{kind}/{split}")
    write_classes(root, ("pole", "road", "bus"))
    config.data.dir, config.init_from, config.seed = str(root), str(run), 1
    states = []

    def no_steps(experiment, workdir, batches, state, start_step, *others):
        states.append((jax.device_get(state.params), experiment.params))
        return state, 0

    monkeypatch.setattr(train, "_run_steps", no_steps)
    train.train(config, tmp_path / "student")
    ((params, drawn),) = states
    before = checkpoint.read_weights(run, "run").params
    for leaf in ("kernel", "bias"):
        got, old, new = (x["semantic_head"]["output"][leaf] for x in (params, before, drawn))
        expected = np.stack([old[..., 2], old[..., 0], new[..., 2]], -1)
        np.testing.assert_array_equal(got, expected)
    got, old = (x["decoder"]["output"]["conv"]["kernel"] for x in (params, before))
    np.testing.assert_array_equal(got, old)
    output = capsys.readouterr().out
    for line in ("class 0 is 'road' there and 'pole' here", "class 1 is 'sky' there and 'road'"):
        assert line in output


def test_explicit_attention_labels_with_the_scales_of_its_training(config, run, pictures, tmp_path):
    config.model.attention, config.objective.scales = "explicit", (0.5, 1.0, 2.0)
    config.evaluate.protocols = ("single",)
    (run / "config.json").unlink()
    options = {"threshold": 0.9, "protocol": "explicit:0.5,1"}
    with pytest.raises(ValueError, match=r"scales it was trained on, .*\(0\.5, 1\.0, 2\.0\)"):
        autolabel.autolabel(config, run, str(pictures / "images"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_labels_of_other_values_are_not_mixed(pictures, tmp_path):
    """A data set that was renumbered meanwhile would give the second half of the masks others."""
    label_spec = folder.read_classes(pictures / "classes.json")
    (tmp_path / "autolabel.json").write_text("{}")
    renumbered = dict(zip(CLASSES, (5, 6, 7), strict=True))
    entries = [{"name": name, "id": number} for name, number in renumbered.items()]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": entries}))
    with pytest.raises(ValueError, match="class 'road': value 5 there and 0 here"):
        labelled_images.check(tmp_path, label_spec, {})


def test_backends_refuses_what_no_device_holds(config, tmp_path):
    for changes, message in (
        ({"images_per_device": 10**20}, "--images_per_device=1"),
        ({"steps": "evaluate"}, "evaluate.images_per_device=1"),
    ):
        config.evaluate.images_per_device = 10**9
        with pytest.raises(ValueError, match=message):
            backends.backends(config, tmp_path / "out", targets="cpu", **changes)
    assert not (tmp_path / "out").exists()
