"""The pictures of an evaluation show what it scores."""

import cv2
import jax
import numpy as np
import pytest

from configs import street_scenes
from data.label_spec import LabelSpec
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import evaluation, experiment, validation_pictures
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.predictions.image_prediction import ImagePrediction, OfScale
from tests.input.memory_source import record

pytestmark = pytest.mark.usefixtures("short_trunk")

SPEC = LabelSpec.of_train_ids(
    ("road", "sky <b>", "pole"), ((128, 64, 128), (70, 130, 180), (9, 9, 9))
)
SIZES = ((48, 64), (40, 56), (48, 64), (36, 64), (48, 50))


def a_config():
    config = street_scenes.get_config()
    config.model.trunk, config.model.dtype = "short", "float32"
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    config.evaluate.protocols = ("hierarchical:0.5,1",)
    config.evaluate.metrics, config.evaluate.canvases = (), 1
    config.evaluate.flip = False
    return config


def test_pictures_show_what_is_scored(monkeypatch):
    """Of images of several sizes, by weights on eight devices, and by one program."""
    rng = np.random.default_rng(0)
    source = [
        record(
            cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), size[::-1]),
            rng.choice(np.uint8([0, 1, 2, 255]), size),
            f"{i}<b>",
        )
        for i, size in enumerate(SIZES)
    ]
    assembled = experiment.assemble(a_config(), label_spec=SPEC)
    (protocol,) = protocol_lib.parse_all(a_config().evaluate.protocols)
    state = assembled.initial_state()
    score = evaluation.prepare(assembled, source)
    scored = score(state.params, state.batch_stats, lambda batches: False).confusions
    draw = validation_pictures.prepare(assembled, source, protocol, 4)

    monkeypatch.setattr(
        validation_pictures, "figure", lambda image, label, said, palette: (image, label, said)
    )
    with jax.transfer_guard("disallow"):
        drawn = list(draw(state.params, state.batch_stats, lambda: False))
    assert [name for name, _ in drawn] == [f"{i}<b>" for i in (0, 1, 3, 4)]
    for i, (_, (image, label, said)) in zip((0, 1, 3, 4), drawn, strict=True):
        assert image.shape[:2] == label.shape == said.classes.shape == SIZES[i]
        known, counts = label < 3, np.zeros((3, 3), int)
        np.add.at(counts, (label[known], said.classes[known]), 1)
        assert np.abs(counts - scored.counts[i, 0]).sum() <= 4  # of programs that round apart
        shares = sum(of_scale.share.astype(int) for of_scale in said.scales.values())
        assert np.abs(shares - 255).max() <= 1
    assert len(list(draw(state.params, state.batch_stats, lambda: True))) == 1


def test_weights_of_one_device_are_no_copies():
    mesh = sharding.make_mesh(8, 1)
    array = jax.device_put(np.arange(6.0), sharding.replicated(mesh))
    alone = sharding.make_mesh(1, 1, jax.local_devices()[2:3])
    own = sharding.of_one_device({"w": array}, alone)["w"]
    assert own.devices() == {jax.local_devices()[2]}
    assert own.unsafe_buffer_pointer() == array.addressable_shards[2].data.unsafe_buffer_pointer()


def test_a_figure_has_errors_and_what_each_scale_says_and_is_small():
    label = np.zeros((1024, 2048), np.uint8)
    label[:512] = 1
    label[:, :1024] = 255
    predicted = np.zeros_like(label)
    share = np.full_like(label, 60)
    scales = {0.5: OfScale(predicted, share), 1.0: OfScale(predicted, 255 - share)}
    prediction = ImagePrediction(predicted, predicted, scales)
    image = np.full((*label.shape, 3), (9, 99, 199), np.uint8)
    sheet = validation_pictures.figure(image, label, prediction, SPEC.palette)
    assert sheet.shape[0] < 800
    assert sheet.shape[1] < 1700
    panel = 200 * 400
    for colour, parts in (
        ((9, 99, 199), 1),
        ((128, 64, 128), 3 + 1 / 4),  # prediction, both scales, a quarter of the label
        ((70, 130, 180), 1 / 4),
        (128, 1 / 2),  # of the errors: no label there
        (0, 1 / 4 + 1 / 2),  # right; and what the label's colours leave black
        (60, 1),
        (195, 1),
    ):
        found = (sheet == colour).all(-1).sum()
        assert found == pytest.approx(parts * panel, rel=0.03), colour
    one = ImagePrediction(predicted, predicted, {1.0: OfScale(predicted, share)})
    assert validation_pictures.figure(image, label, one, SPEC.palette).shape[0] < 300
    tall = ImagePrediction(predicted[:, :100], predicted[:, :100], {})
    narrow = validation_pictures.figure(image[:, :100], label[:, :100], tall, SPEC.palette)
    assert max(narrow.shape) < 600
