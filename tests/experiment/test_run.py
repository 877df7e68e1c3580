"""A run that is opened from Python."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import hmsa_jax
from configs import street_scenes
from hmsa_jax.experiment import experiment, run_directory
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.training import checkpoint, training_record
from hmsa_jax.training.length import Length

pytestmark = pytest.mark.usefixtures("short_trunk")


def a_config():
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.model.ocr_channels = 16
    config.model.ocr_key_channels = 8
    config.model.head_channels = 8
    config.optimizer.ema_decay = 0.5
    config.mesh.data = 8  # of the machine that trained it
    return config


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A run of one step, whose moving average is not its parameters."""
    directory = tmp_path_factory.mktemp("run") / "run"
    assembled = experiment.assemble(a_config())
    run_directory.claim(directory, a_config(), assembled.label_spec)
    state = assembled.initial_state()
    # Hardly other: factors of many layers multiply, until activations overflow.
    ema = jax.tree.map(lambda x: x * 1.01, state.ema_params)
    with checkpoint.Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(dataclasses.replace(state, ema_params=ema), 3)
    return directory


@pytest.fixture(scope="module")
def run(directory):
    return hmsa_jax.load_run(directory)


def test_it_holds_config_classes_and_weights(run, directory):
    assert (run.directory, run.step) == (directory, 3)
    assert run.config.to_dict() == a_config().to_dict()
    assert run.classes == run.label_spec.names
    assert len(run.classes) == 11
    drawn = experiment.assemble(a_config())
    kernel = run.params["semantic_head"]["output"]["kernel"]
    np.testing.assert_array_equal(
        kernel, drawn.params["semantic_head"]["output"]["kernel"] * np.float32(1.01)
    )


def test_it_is_shown_in_a_line(run, directory):
    assert repr(run) == f"Run(directory={directory!r}, step=3)"


def test_predictions_are_those_of_the_network(run):
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    got = run.predict(images, protocol="single", flip=False)
    (output,) = protocol_lib.predict_all(
        (protocol_lib.parse("single"),),
        experiment.assemble(a_config()).graphdef,
        run.params,
        run.batch_stats,
        images,
        resolution="features",
        flip=False,
    )
    agreeing = (got == np.argmax(output.logits, -1)).mean()
    assert got.shape == (2, 48, 64)
    assert agreeing > 0.999  # sums are in another order where rows are merged
    np.testing.assert_array_equal(run.predict(images[0], protocol="single", flip=False), got[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]; expected uint8"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[4, 4\]; expected"),
        (np.zeros((1, 0, 4, 3), np.uint8), "leaves"),
        (np.zeros((0, 4, 4, 3), np.uint8), "of one image or more"),
    ],
)
def test_what_is_no_image_is_refused(run, images, message):
    with pytest.raises(ValueError, match=message):
        run.predict(images, protocol="single")


def test_a_protocol_that_the_network_cannot_do_is_refused(run):
    with pytest.raises(ValueError, match="explicit"):
        run.predict(np.zeros((32, 32, 3), np.uint8), protocol="explicit:0.5,1")


def test_predictions_that_are_not_finite_are_refused(directory):
    run = hmsa_jax.load_run(directory)
    run.params["semantic_head"]["output"]["kernel"][...] = np.nan
    with pytest.raises(FloatingPointError, match="not finite for image 0"):
        run.predict(np.zeros((32, 32, 3), np.uint8), protocol="single", flip=False)


def test_the_best_checkpoint_is_taken_by_name(directory, tmp_path):
    run = shutil.copytree(directory, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="has no best checkpoint on record"):
        hmsa_jax.load_run(run, step="best")
    state = experiment.assemble(a_config()).initial_state()
    with checkpoint.Checkpoints(run, keep=2) as checkpoints:
        checkpoints.save(state, 5)
    best = training_record.Best(3, "single (1)", 50.0)
    record = training_record.TrainingRecord(Length(5, 8, 8), best=best)
    training_record.write(run, record)
    assert [hmsa_jax.load_run(run, step=s).step for s in ("best", 3, "latest", None)] == [
        3,
        3,
        5,
        5,
    ]


def test_it_needs_neither_its_data_nor_its_place(directory, tmp_path):
    moved = shutil.copytree(directory, tmp_path / "moved")
    fields = json.loads((moved / "config.json").read_text())
    fields |= {"data.name": "folder", "data.dir": "/gone", "init_from": "/gone"}
    (moved / "config.json").write_text(json.dumps(fields))
    run = hmsa_jax.load_run(moved)
    assert len(run.classes) == 11
    with pytest.raises(FileNotFoundError, match=r"data\.dir is '/gone'"):
        run.evaluate()


def test_fields_that_may_not_change_are_refused(run):
    with pytest.raises(ValueError, match="seed: 0 there, 1 here"):
        run.evaluate(seed=1)
    with pytest.raises(ValueError, match=r"data\.splitt: no such field; did you mean"):
        run.evaluate(data__splitt="test")


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        hmsa_jax.load_run(tmp_path)


def test_large_images_go_in_tiles(run):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 130, 140, 3), np.uint8)
    whole = run.predict(pixels, protocol="hierarchical:0.5,1")
    tiled = run.predict(pixels, protocol="hierarchical:0.5,1", tile=256)
    np.testing.assert_array_equal(whole, tiled)  # one tile holds all
    in_four = run.predict(pixels, protocol="hierarchical:0.5,1", tile=128)
    assert in_four.shape == whole.shape
    assert (in_four == whole).mean() > 0.9  # the context of a pixel is another
    with pytest.raises(ValueError, match="--tile is 1; expected a multiple of 128"):
        run.predict(pixels, tile=1)


def test_scales_that_no_memory_holds_are_refused(run):
    image = np.zeros((64, 96, 3), np.uint8)
    for ask in (run.predict, run.outputs):
        with pytest.raises(ValueError, match=r"1 images of 64 x 96 pixels at the scales of .*900"):
            ask(image, protocol="average:1,900")
