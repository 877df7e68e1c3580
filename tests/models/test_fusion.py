from types import SimpleNamespace

import jax
import numpy as np
import pytest

from hmsa_jax.models import fusion
from tests.models import numpy_reference

STATIC = ("size", "resolution")
hierarchical = jax.jit(fusion.hierarchical, static_argnames=STATIC)
attention_weights = jax.jit(fusion.attention_weights, static_argnames=STATIC)


def head_size(size, scale):
    """A quarter of the scaled image, rounded up as the network does."""
    return tuple((int(n * scale) + 3) // 4 for n in size)


def random_outputs(scales, size, rng, classes=3):
    shapes = {scale: (2, *head_size(size, scale)) for scale in scales}
    logits = {s: rng.standard_normal((*hw, classes), np.float32) for s, hw in shapes.items()}
    attention = {s: rng.uniform(0, 1, (*hw, 1)).astype(np.float32) for s, hw in shapes.items()}
    return logits, attention


def constant_outputs(values, size, attention):
    """Spatially constant logits (a vector of values for each scale) and attention."""
    logits = {
        s: np.broadcast_to(np.float32(v), (1, *head_size(size, s), len(v)))
        for s, v in values.items()
    }
    attention = {s: np.full((1, *head_size(size, s), 1), attention, np.float32) for s in values}
    return logits, attention


def fuse_in_every_way(logits, attention, size, resolution):
    how = {"size": size, "resolution": resolution}
    return {
        "hierarchical": fusion.hierarchical(logits, attention, **how),
        "average": fusion.average(logits, **how),
        "maximum": fusion.maximum(logits, **how),
        "single": fusion.single(logits, **how),
        "weights": fusion.attention_weights(attention, **how),
    }


@pytest.fixture(
    scope="module",
    params=[(seed, r) for seed in range(10) for r in fusion.RESOLUTIONS],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def case(request):
    """Random scales, 1.0 among them, and an odd image size, with all that is made of them."""
    seed, resolution = request.param
    rng = np.random.default_rng(seed)
    others = rng.permutation([0.25, 0.5, 0.75, 1.25, 1.5, 2.0])[: rng.integers(1, 4)]
    scales = (1.0, *map(float, others))
    size = tuple(int(n) for n in 2 * rng.integers(10, 20, 2) + 1)
    logits, attention = random_outputs(scales, size, rng)
    fuse = jax.jit(fuse_in_every_way, static_argnums=(2, 3))
    return SimpleNamespace(
        resolution=resolution,
        size=size,
        logits=logits,
        attention=attention,
        got=fuse(logits, attention, size, resolution),
    )


def resized(case):
    """The logits of every scale at the size of the image, lowest scale first.

    The published average rounds the sizes of scaled images.
    """
    for scale, x in sorted(case.logits.items()):
        if case.resolution == "image":
            x = numpy_reference.resize(x, tuple(round(scale * side) for side in case.size))
        yield numpy_reference.resize(x, case.size)


def test_hierarchical_follows_equation_1(case):
    expected = numpy_reference.FUSE[case.resolution](case.logits, case.attention, case.size)
    np.testing.assert_allclose(case.got["hierarchical"], expected, atol=1e-5)


def test_average_maximum_and_single(case):
    stack = np.stack(list(resized(case)))
    np.testing.assert_allclose(case.got["average"], stack.mean(0), atol=1e-5)
    np.testing.assert_allclose(case.got["maximum"], stack.max(0), atol=1e-5)
    expected = numpy_reference.resize(case.logits[1.0], case.size)
    np.testing.assert_allclose(case.got["single"], expected, atol=1e-5)


def test_attention_weights_are_shares(case):
    weights = case.got["weights"]
    assert weights.keys() == case.logits.keys()
    stack = np.stack([weights[scale] for scale in weights])
    assert stack.shape[1:] == (2, *case.size, 1)
    assert stack.min() >= -1e-6
    assert stack.max() <= 1 + 1e-6
    np.testing.assert_allclose(stack.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("resolution", fusion.RESOLUTIONS)
def test_attention_weights_recombine_constant_logits(resolution):
    values = {0.5: (1.0, -2.0), 1.0: (4.0, 0.5), 2.0: (-3.0, 7.0)}
    size = (24, 32)
    logits, _ = constant_outputs(values, size, 0)
    _, attention = random_outputs(values, size, np.random.default_rng(0), classes=2)
    attention = {scale: a[:1] for scale, a in attention.items()}
    weights = attention_weights(attention, size=size, resolution=resolution)
    expected = sum(np.asarray(weights[scale]) * np.float32(values[scale]) for scale in values)
    fused = hierarchical(logits, attention, size=size, resolution=resolution)
    np.testing.assert_allclose(fused, expected, atol=1e-5)


@pytest.mark.parametrize("resolution", fusion.RESOLUTIONS)
@pytest.mark.parametrize(("attention", "trusted"), [(1, 0.5), (0, 2.0)])
def test_full_attention_trusts_the_lowest_scale_and_none_the_highest(
    resolution, attention, trusted
):
    values = {0.5: (1.0, -2.0), 1.0: (4.0, 0.5), 2.0: (-3.0, 7.0)}
    size = (24, 32)
    logits, attention = constant_outputs(values, size, attention)
    fused = hierarchical(logits, attention, size=size, resolution=resolution)
    np.testing.assert_allclose(fused, np.broadcast_to(values[trusted], fused.shape), atol=1e-5)
    weights = attention_weights(attention, size=size, resolution=resolution)
    for scale, weight in weights.items():
        np.testing.assert_allclose(weight, float(scale == trusted), atol=1e-6)


def test_attention_of_the_highest_scale_is_not_needed():
    logits, attention = random_outputs((0.5, 1.0), (9, 13), np.random.default_rng(0))
    arguments = {"size": (9, 13), "resolution": "image"}
    with_it = hierarchical(logits, attention, **arguments)
    without = hierarchical(logits, attention | {1.0: None}, **arguments)
    np.testing.assert_array_equal(with_it, without)


LOGITS = {0.5: np.zeros((1, 2, 2, 3), np.float32), 1.0: np.zeros((1, 4, 4, 3), np.float32)}
ATTENTION = {scale: x[..., :1] for scale, x in LOGITS.items()}


@pytest.mark.parametrize("attention", [{}, {0.5: None}])
def test_missing_attention_is_refused(attention):
    with pytest.raises(ValueError, match=r"attention of scales \[0\.5\]"):
        fusion.hierarchical(LOGITS, attention, (16, 16), resolution="image")


@pytest.mark.parametrize("fuse", [fusion.average, fusion.maximum, fusion.single])
def test_bad_arguments_are_refused(fuse):
    with pytest.raises(ValueError, match="'pixels'; expected one of"):
        fuse(LOGITS, (16, 16), resolution="pixels")
    with pytest.raises(ValueError, match=r"\[0\.5\]; scale 1\.0 must be among them"):
        fuse({0.5: LOGITS[0.5]}, (16, 16), resolution="image")


def test_bad_arguments_of_the_chain_are_refused():
    with pytest.raises(ValueError, match="'pixels'; expected one of"):
        fusion.hierarchical(LOGITS, ATTENTION, (16, 16), resolution="pixels")
    with pytest.raises(ValueError, match=r"\[0\.5\]; scale 1\.0 must be among them"):
        fusion.hierarchical({0.5: LOGITS[0.5]}, ATTENTION, (16, 16), resolution="image")


@pytest.mark.parametrize("resolution", fusion.RESOLUTIONS)
def test_coverage_leads_from_the_whole_chain_to_that_of_the_lower_scales(resolution):
    """Where the highest scale was not looked at, the chain begins one scale lower."""
    logits, attention = random_outputs((0.5, 1.0, 2.0), (21, 33), np.random.default_rng(0))
    coverage = np.ones_like(attention[2.0])
    coverage[:, :, 8:] = 0
    partial = {**logits, 2.0: logits[2.0] * coverage}
    how = {"size": (21, 33), "resolution": resolution}
    got = hierarchical(partial, attention, coverage=coverage, **how)
    whole = numpy_reference.FUSE[resolution](logits, attention, (21, 33))
    lower = {scale: x for scale, x in logits.items() if scale < 2}
    rest = numpy_reference.FUSE[resolution](lower, attention, (21, 33))
    np.testing.assert_allclose(got[:, :, :14], whole[:, :, :14], rtol=0, atol=1e-5)
    np.testing.assert_allclose(got[:, :, 18:], rest[:, :, 18:], rtol=0, atol=1e-5)
    assert np.abs(whole - rest)[:, :, 18:].max() > 0.1
