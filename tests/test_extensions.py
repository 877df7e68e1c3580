"""A trunk, a decoder, a loss and a fusion from outside: an entry each, and nothing else changes."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import street_scenes
from hmsa_jax.config import fields, schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import experiment, feasibility, protocols
from hmsa_jax.losses.objective import LOSSES, Loss
from hmsa_jax.models import fusion, pretrained
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.models.fusion import FUSIONS, Fusion
from hmsa_jax.models.heads import SEMANTIC_HEADS
from hmsa_jax.models.layers.canvas import FILLED
from hmsa_jax.models.layers.conv import ConvBN
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.models.trunks.trunk import Trunk

NAMES = {
    "decoder.conv": ("toy.decoder", "toy.decoder_bn"),
    "semantic_head.hidden.0": ("toy.head.0", "toy.head.1"),
    "semantic_head.hidden.1": ("toy.head.2", "toy.head.3"),
    "semantic_head.output": "toy.head.4",
}


class ToyTrunk(nnx.Module):
    """One convolution at stride 4."""

    def __init__(self, layer, *, remat):
        del remat
        self.conv = ConvBN(3, 8, layer, kernel=3, stride=2)
        self.again = ConvBN(8, 8, layer, kernel=3, stride=2)

    def __call__(self, images, *, train, canvas=FILLED):
        return self.again(self.conv(images, train=train, canvas=canvas), train=train, canvas=canvas)


class ToyDecoder(nnx.Module):
    """One convolution, and no auxiliary head."""

    def __init__(self, trunk, architecture, layer):
        del trunk, architecture
        self.conv = ConvBN(8, 8, layer)
        self.channels = 8

    def __call__(self, features, *, train, dropout_key, canvas=FILLED):
        del dropout_key
        return self.conv(features, train=train, canvas=canvas), None


TRUNK = Trunk(
    build=ToyTrunk,
    decoder="toy",
    coarsest_stride=4,
    published_names={
        "trunk.conv": ("toy.conv", "toy.bn"),
        "trunk.again": ("toy.again", "toy.again_bn"),
    },
    renamed={r"^mine\.": "toy."},
    dropped=r"^classifier\.",
)
DECODER = Decoder(
    build=ToyDecoder,
    has_auxiliary_head=False,
    normalises_image_mean=False,
    widths={},
    weights=lambda widths: 0,
    published_names={kind: NAMES for kind in SEMANTIC_HEADS},
    renamed={},
    head_has_bias=False,
    published_head_is_linear=False,
)


def squared_error(logits, labels):
    """Of the softmax, over labelled pixels."""
    target = jax.nn.one_hot(labels, logits.shape[-1])
    return ((jax.nn.softmax(logits) - target) ** 2).sum(-1).mean()


def least(logits, size, *, resolution):
    """The least of all scales' logits, class by class."""
    return jnp.stack(fusion.each_resized(logits, size, resolution=resolution)).min(0)


@pytest.fixture(scope="module")
def toys():
    with contextlib.ExitStack() as stack:
        stack.enter_context(TRUNKS.holding("toy", TRUNK))
        stack.enter_context(DECODERS.holding("toy", DECODER))
        stack.enter_context(LOSSES.holding("squared_error", Loss(squared_error)))
        stack.enter_context(FUSIONS.holding("least", Fusion(least)))
        yield


@pytest.fixture(scope="module")
def assembled(toys):
    config = street_scenes.get_config()
    changes = {
        "model.trunk": "toy",
        "model.head_channels": 8,
        "objective.main_loss": "squared_error",
        "objective.aux_weight": 0.0,
        "objective.scale_weight": 0.1,
        "data.batch_size": 8,
        "data.crop_size": (32, 64),
        "evaluate.protocols": ("single", "least:0.5,1"),
        "evaluate.images_per_device": 1,
    }
    config = schema.override(config, changes)
    feasibility.check_training(config)
    return experiment.assemble(config)


def test_their_names_are_allowed(toys):
    for name, value in (("model.trunk", "toy"), ("objective.main_loss", "squared_error")):
        assert fields.FIELDS[name].allows(value)
        assert repr(value) in fields.FIELDS[name].expected
    assert fields.FIELDS["objective.aux_loss"].allows("squared_error")
    assert fields.FIELDS["evaluate.protocols"].allows(("least:0.5,1",))


def test_a_step_trains_and_the_network_is_scored(assembled):
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (8, 32, 64, 3), np.uint8),
        "label": rng.integers(0, 11, (8, 32, 64), np.uint8),
    }
    state, metrics = assembled.train_step()(
        assembled.initial_state(),
        assembled.hyperparameters_on_devices(),
        sharding.put_batch(batch, sharding.training_batch(assembled.mesh)),
    )
    assert {"loss", "main", "scales", "grad_norm"} == metrics.keys()
    assert float(metrics["grad_norm"]) > 0
    names = [protocol.name for protocol in protocols.of_evaluation(assembled.config)]
    assert names == ["single (1)", "least (0.5, 1)"]
    batch = jax.device_put(batch, sharding.whole_images(assembled.mesh))
    counts, finite = assembled.evaluation_step()(state.params, state.batch_stats, batch)
    assert finite.all()
    assert np.asarray(counts["confusion"]).sum((2, 3)).tolist() == [[32 * 64] * 2] * 8
    assert {"boundary", "calibration"} == counts["metrics"].keys()


def test_its_weights_have_published_names(assembled):
    tensors = pretrained.export(
        assembled.params, assembled.batch_stats, assembled.architecture, updates=0
    )
    assert {"toy.conv.weight", "toy.head.4.weight", "scale_attn.conv2.weight"} <= tensors.keys()
    others = {name.replace("toy.", "mine.", 1): value + 1 for name, value in tensors.items()}
    others["classifier.weight"] = np.zeros(1)
    params, _, coverage = pretrained.load(
        others, assembled.params, assembled.batch_stats, assembled.architecture
    )
    assert coverage.complete
    kernel = params["trunk"]["conv"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel, assembled.params["trunk"]["conv"]["conv"]["kernel"] + 1)


def test_what_it_lacks_is_told_as_of_the_others(toys):
    config = schema.override(street_scenes.get_config(), {"model.trunk": "toy"})
    with pytest.raises(ValueError, match="toy has no auxiliary head"):
        schema.check(config)
    with pytest.raises(ValueError, match="no trunk 'toys'; did you mean 'toy'"):
        TRUNKS.get("toys")
    with pytest.raises(ValueError, match="there is a trunk 'toy' already"):
        TRUNKS.register("toy", TRUNK)
