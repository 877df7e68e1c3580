from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from hmsa_jax.models import multiscale, remat
from hmsa_jax.models.multiscale import Architecture
from hmsa_jax.models.trunks import TRUNKS, hrnet

CLASSES = 5


def trace(architecture, size, *, dtype="float32", scales=(1.0,)):
    """Parameters, jaxpr and abstract outputs of an evaluation; nothing is compiled."""
    graphdef, params, batch_stats = multiscale.initialize(
        architecture, dtype=dtype, remat="none", seed=0
    )

    def predict(params, batch_stats, images):
        return multiscale.apply(graphdef, params, batch_stats, images, scales, train=False)

    images = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    jaxpr, (outputs, _) = jax.make_jaxpr(predict, return_shape=True)(params, batch_stats, images)
    return params, jaxpr, outputs


def equations(jaxpr):
    """All equations, those of inner functions included; of ways for each device the default."""
    for equation in jaxpr.eqns:
        yield equation
        if equation.params.get("branches_platforms"):
            yield from equations(equation.params["branches"][-1].jaxpr)
            continue
        for inner in core.jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize(
    ("trunk", "semantic_head"),
    [
        ("w18_small", "paper"),
        ("w18", "published"),
        ("w32", "published"),
        ("w48", "paper"),
    ],
)
def test_named_sizes_in_bfloat16(trunk, semantic_head):
    architecture = Architecture(trunk, CLASSES, semantic_head=semantic_head)
    params, jaxpr, outputs = trace(architecture, (65, 97), dtype="bfloat16")

    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    head = (2, 17, 25)  # an odd size is halved upwards
    output = outputs[1.0]
    assert output.logits.shape == output.aux_logits.shape == (*head, CLASSES)
    assert output.attention.shape == (*head, 1)
    assert {x.dtype for x in jax.tree.leaves(output)} == {np.dtype(np.float32)}

    products = [
        equation
        for equation in equations(jaxpr.jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    assert len(products) == len(kernels) + 3  # regions, similarity and their mixture
    for equation in products:
        assert {operand.aval.dtype for operand in equation.invars} == {np.dtype(jnp.bfloat16)}


def test_deeplab_in_bfloat16():
    architecture = Architecture("resnet50", CLASSES)
    params, jaxpr, outputs = trace(architecture, (65, 97), dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    output = outputs[1.0]
    assert output.logits.shape == (2, 17, 25, CLASSES)
    assert output.attention.shape == (2, 17, 25, 1)
    assert output.aux_logits is None
    assert {x.dtype for x in jax.tree.leaves(output)} == {np.dtype(np.float32)}
    convolutions = [e for e in equations(jaxpr.jaxpr) if e.primitive.name == "conv_general_dilated"]
    assert {x.aval.dtype for e in convolutions for x in e.invars} == {np.dtype(jnp.bfloat16)}
    # Output stride 8: nothing is halved after the second stage. Dilations: of stages, of ASPP.
    dilations = [e.params["rhs_dilation"] for e in convolutions]
    counts = {d: dilations.count((d, d)) for d in (2, 4, 12, 24, 36)}
    assert counts == {2: 6, 4: 3, 12: 1, 24: 1, 36: 1}
    assert sum(e.params["window_strides"] == (2, 2) for e in convolutions) == 3


@pytest.mark.parametrize("trunk", ["tiny", "resnet50"])
def test_explicit_attention_weighs_all_scales_at_once(trunk):
    architecture = Architecture(trunk, CLASSES, attention="explicit", scales=(0.5, 1.0, 2.0))
    params, _, outputs = trace(architecture, (64, 96), scales=(2.0, 0.25, 1.0, 0.5))
    assert outputs[0.25].attention is None  # not among the scales that it weighs
    for scale in (0.5, 1.0, 2.0):
        assert outputs[scale].attention.shape == (2, 16, 24, 1)
    pixels = {"tiny": 512, "resnet50": 304}[trunk]
    head = params["attention_head"]
    assert head["hidden"][0]["conv"]["kernel"].shape == (3, 3, 3 * pixels, 256)
    assert head["output"]["kernel"].shape == (1, 1, 256, 3)

    _, _, outputs = trace(architecture, (64, 96), scales=(1.0, 2.0))
    assert outputs[1.0].attention is None


def test_shares_of_explicit_attention_sum_to_one_and_see_every_scale(minimal_trunk):
    architecture = Architecture(
        minimal_trunk,
        CLASSES,
        attention="explicit",
        scales=(0.5, 1.0),
        ocr_channels=8,
        ocr_key_channels=4,
        head_channels=4,
    )
    graphdef, *values = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    images = np.random.default_rng(1).standard_normal((2, 32, 64, 3), np.float32)

    @jax.jit
    def shares(images):
        outputs, _ = multiscale.apply(graphdef, *values, images, (0.5, 1.0), train=False)
        return jnp.concatenate([outputs[0.5].attention, outputs[1.0].attention], -1)

    got = shares(images)
    np.testing.assert_allclose(got.sum(-1), 1, rtol=1e-6)
    assert got.min() > 0
    assert got.std() > 1e-3


def test_semantic_heads_differ_by_two_convolutions():
    heads = {}
    for kind in ("paper", "published"):
        architecture = Architecture("tiny", CLASSES, semantic_head=kind, head_channels=24)
        _, params, _ = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
        heads[kind] = jax.tree.map(np.shape, params["semantic_head"])
    output = {"kernel": (1, 1, 512, CLASSES), "bias": (CLASSES,)}
    assert heads["published"] == {"output": output}
    norm = {"scale": (24,), "bias": (24,)}
    assert heads["paper"] == {
        "hidden": {
            0: {"conv": {"kernel": (3, 3, 512, 24)}, "bn": norm},
            1: {"conv": {"kernel": (3, 3, 24, 24)}, "bn": norm},
        },
        "output": output | {"kernel": (1, 1, 24, CLASSES)},
    }


def test_every_scale_has_the_size_of_its_scaled_image():
    _, _, outputs = trace(Architecture("tiny", CLASSES), (65, 97), scales=(2.0, 0.5, 1.0))
    assert list(outputs) == [0.5, 1.0, 2.0]
    shapes = {scale: output.logits.shape[1:3] for scale, output in outputs.items()}
    assert shapes == {0.5: (8, 12), 1.0: (17, 25), 2.0: (33, 49)}


def test_network_without_attention():
    params, _, outputs = trace(Architecture("tiny", CLASSES, attention="none"), (64, 64))
    assert outputs[1.0].attention is None
    assert "attention_head" not in params
    assert "semantic_head" in params


def test_initialization_follows_the_seed():
    architecture = Architecture("tiny", CLASSES)

    def kernel(seed):
        _, params, _ = multiscale.initialize(architecture, dtype="float32", remat="none", seed=seed)
        return params["semantic_head"]["output"]["kernel"]

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert (kernel(1) != kernel(2)).all()


@pytest.fixture(scope="module")
def minimal_trunk():
    size = hrnet.HRNetSize((4, 4, 4, 4), (0, 0, 1), blocks=1, stage1_blocks=1, stage1_channels=4)
    with TRUNKS.holding("minimal", hrnet.trunk(size)):
        yield "minimal"


def test_groups_of_batch_norm_see_nothing_of_each_other(minimal_trunk):
    """A batch in groups of two images equals its halves by themselves, layer after layer."""
    architecture = Architecture(
        minimal_trunk, CLASSES, ocr_channels=8, ocr_key_channels=4, head_channels=4, dropout=0.0
    )
    images = np.random.default_rng(1).standard_normal((4, 32, 64, 3), np.float32)
    images *= np.float32([1, 2, 3, 4])[:, None, None, None]

    def train(images, group):
        graphdef, *values = multiscale.initialize(
            architecture, dtype="float32", remat="none", batch_norm_group=group, seed=0
        )

        @jax.jit
        def outputs(images):
            return multiscale.apply(graphdef, *values, images, (1.0,), train=True)

        return outputs(images)

    outputs, statistics = train(images, 2)
    halves = [train(half, 0) for half in (images[:2], images[2:])]
    for got, *expected in zip(
        *map(jax.tree.leaves, (outputs, halves[0][0], halves[1][0])), strict=True
    ):
        np.testing.assert_allclose(got, np.concatenate(expected), rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda got, a, b: np.testing.assert_allclose(got, (a + b) / 2, rtol=1e-4, atol=1e-4),
        statistics,
        halves[0][1],
        halves[1][1],
    )
    means = _leaves_named(halves[0][1], "mean"), _leaves_named(halves[1][1], "mean")
    assert max(np.abs(a - b).max() for a, b in zip(*means, strict=True)) > 1e-2


def train_step(trunk, *, remat):
    """How often each primitive is used, and `((loss, (outputs, batch_stats)), gradients)`.

    In float64: over so few pixels, BatchNorm magnifies the rounding of what is computed twice.
    """
    architecture = Architecture(
        trunk, CLASSES, ocr_channels=8, ocr_key_channels=4, head_channels=4, dropout=0.3
    )
    graphdef, *values = multiscale.initialize(architecture, dtype="float64", remat=remat, seed=0)

    def loss_fn(params, batch_stats, images):
        outputs, batch_stats = multiscale.apply(
            graphdef, params, batch_stats, images, (1.0,), train=True, dropout_key=jax.random.key(7)
        )
        loss = sum(jnp.square(x).mean() for x in jax.tree.leaves(outputs))
        return loss, (outputs, batch_stats)

    images = np.random.default_rng(1).standard_normal((2, 32, 64, 3), np.float32)
    with jax.enable_x64(True):
        arguments = jax.tree.map(lambda x: x.astype(np.float64), (*values, images))
        traced = jax.jit(jax.value_and_grad(loss_fn, has_aux=True)).trace(*arguments)
        result = jax.device_get(traced.lower().compile()(*arguments))
    return Counter(equation.primitive.name for equation in equations(traced.jaxpr.jaxpr)), result


@pytest.fixture(scope="module")
def step_without_remat(minimal_trunk):
    return train_step(minimal_trunk, remat="none")


@pytest.mark.parametrize("policy", sorted(remat.POLICIES.keys() - {"none"}))
def test_remat_changes_nothing_but_memory(minimal_trunk, step_without_remat, policy):
    without, expected = step_without_remat
    primitives, got = train_step(minimal_trunk, remat=policy)
    convolutions, roots, sums = (
        primitives[name] - without[name] for name in ("conv_general_dilated", "rsqrt", "reduce_sum")
    )
    # Outputs, gradients and the running statistics that the step has moved.
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        assert np.isfinite(leaf).all(), path
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8), got, expected)
    (_, (_, batch_stats)), gradients = got
    assert all((var != 1).all() for var in _leaves_named(batch_stats, "var"))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradients)) > 1e-2
    assert roots > 0  # of BatchNorm, which every policy does again
    assert sums == 0  # but for its statistics
    assert (convolutions > 0) == (policy == "modules")


def _leaves_named(tree, name):
    return [
        leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if path[-1].key == name
    ]
