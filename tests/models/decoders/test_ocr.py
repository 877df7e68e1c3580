import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hmsa_jax.models.decoders.ocr import OCR, drop_channels, gather_regions
from hmsa_jax.models.layers.batch_norm import EPSILON
from hmsa_jax.models.layers.layer import Layer

KEY = jax.random.key(0)


def block(dropout=0.0):
    """A small block whose BatchNorms are not the identity."""
    rng = np.random.default_rng(0)
    ocr = OCR(6, 3, Layer(jnp.dtype("float32"), rng), channels=8, key_channels=4, dropout=dropout)
    for _, leaf in nnx.to_flat_state(nnx.state(ocr, (nnx.Param, nnx.BatchStat))):
        if leaf.get_value().ndim == 1:
            values = rng.uniform(0.5, 1.5, leaf.get_value().shape)
            leaf.set_value(jnp.asarray(values, jnp.float32))
    return ocr


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(1)
    return rng.standard_normal((2, 5, 7, 6), np.float32), 3 * rng.standard_normal(
        (2, 5, 7, 3), np.float32
    )


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def regions_of(pixels, aux_logits):
    """Region k is the mean of all pixels, weighted by the softmax of logit k over them."""
    batch, *_, channels = pixels.shape
    flat = pixels.reshape(batch, -1, channels)
    weights = softmax(aux_logits.reshape(batch, -1, aux_logits.shape[-1]), axis=1)
    return weights.transpose(0, 2, 1) @ flat


def pointwise(layer, x):
    """A 1x1 convolution, BatchNorm in evaluation and ReLU."""
    x = x @ np.asarray(layer.conv.kernel.get_value())[0, 0]
    bn = {k: np.asarray(getattr(layer.bn, k).get_value()) for k in ("mean", "var", "scale", "bias")}
    x = (x - bn["mean"]) / np.sqrt(bn["var"] + EPSILON) * bn["scale"] + bn["bias"]
    return np.maximum(x, 0)


def test_regions_are_means_weighted_over_space(inputs):
    pixels, aux_logits = inputs
    got = gather_regions(pixels, aux_logits)
    assert got.shape == (2, 3, 1, 6)
    np.testing.assert_allclose(got[:, :, 0], regions_of(pixels, aux_logits), atol=1e-5)


def test_block_equals_numpy(inputs):
    features, _ = inputs
    ocr = block()
    got, aux_logits = ocr(features, train=False, dropout_key=None)
    np.testing.assert_array_equal(aux_logits, ocr.aux_head(features, train=False))
    aux_logits = np.asarray(aux_logits)
    pixels = np.asarray(ocr.features(features, train=False))
    regions = regions_of(pixels, aux_logits)

    def twice(layers, x):
        return pointwise(layers.layers[1], pointwise(layers.layers[0], x))

    query, key = twice(ocr.pixel, pixels), twice(ocr.object, regions)
    similarity = np.einsum("bhwk,bck->bhwc", query, key) / np.sqrt(4)
    mixture = np.einsum(
        "bhwc,bck->bhwk", softmax(similarity, axis=-1), pointwise(ocr.value, regions)
    )
    context = pointwise(ocr.up, mixture)
    expected = pointwise(ocr.output, np.concatenate([context, pixels], axis=-1))

    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_training_drops_channels_and_evaluation_does_not(inputs):
    features, _ = inputs
    whole, _ = block()(features, train=True, dropout_key=KEY)
    dropped, _ = block(dropout=0.5)(features, train=True, dropout_key=KEY)
    kept = (dropped != 0).any((1, 2))
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(dropped, 2 * whole * kept[:, None, None], rtol=1e-5)

    whole, _ = block()(features, train=False, dropout_key=KEY)
    kept, _ = block(dropout=0.5)(features, train=False, dropout_key=KEY)
    np.testing.assert_array_equal(kept, whole)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_whole_channels_are_dropped_at_the_rate(dtype):
    rate, channels = 0.05, 20_000
    dropped = drop_channels(jnp.ones((2, 2, 3, channels), dtype), rate, KEY)
    assert dropped.dtype == dtype
    dropped = np.asarray(dropped, np.float32)
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1, :1], dropped.shape))
    kept = dropped[:, 0, 0] != 0
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * deviation
    np.testing.assert_allclose(dropped[:, 0, 0][kept], 1 / (1 - rate), rtol=2**-8)
    assert (kept[0] != kept[1]).any(), "both images lose the same channels"
