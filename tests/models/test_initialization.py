"""How decoder and heads are drawn, against PyTorch's formulas."""

import jax
import numpy as np
import pytest

from hmsa_jax.models import multiscale


def drawn(initialization, trunk="tiny"):
    architecture = multiscale.Architecture(
        trunk, 5, ocr_channels=16, ocr_key_channels=8, head_channels=24
    )
    _, params, _ = multiscale.initialize(
        architecture, dtype="float32", remat="none", initialization=initialization, seed=3
    )
    return params


def layers(tree, path=()):
    """Path and parameters of every convolution."""
    if "kernel" in tree:
        yield path, tree
    for name, below in tree.items():
        if isinstance(below, dict):
            yield from layers(below, (*path, name))


@pytest.mark.parametrize("trunk", ["tiny", "resnet50"])
def test_decoder_and_heads_are_uniform_and_the_trunk_stays(trunk):
    he, published = drawn("he", trunk), drawn("published", trunk)
    jax.tree.map(np.testing.assert_array_equal, published["trunk"], he["trunk"])
    of_both = list(zip(layers(published), layers(he), strict=True))
    outside = [pair for pair in of_both if pair[0][0][0] != "trunk"]
    assert {path[0] for (path, _), _ in outside} == {"decoder", "semantic_head", "attention_head"}
    for (path, layer), (_, before) in outside:
        # torch.nn.init.kaiming_uniform_(a=sqrt(5)): gain sqrt(2 / 6), bound gain * sqrt(3 / fan_in)
        fan_in = layer["kernel"].size // layer["kernel"].shape[-1]
        bound = (2 / 6) ** 0.5 * (3 / fan_in) ** 0.5
        for name in ("kernel", "bias"):
            values = layer.get(name)
            assert (values is None) == (before.get(name) is None)
            if values is None:
                continue
            assert values.dtype == np.float32
            assert np.abs(values).max() <= np.float32(bound), path
            if values.size > 500:
                np.testing.assert_allclose(np.abs(values).max(), bound, rtol=0.02)
                np.testing.assert_allclose(values.std(), bound / 3**0.5, rtol=0.1)
        if before.get("bias") is not None:
            assert (before["bias"] == 0).all()
            assert layer["bias"].any()


def test_the_draw_is_the_seeds():
    jax.tree.map(np.testing.assert_array_equal, drawn("published"), drawn("published"))
