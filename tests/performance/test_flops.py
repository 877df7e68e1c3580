"""Operations of traced programs, against what is known by hand."""

import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from hmsa_jax.models import multiscale
from hmsa_jax.performance import flops


def convolution(x, kernel, stride=1, padding=((1, 1), (1, 1))):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=numbers
    )


def count_of(function, *shapes, **options):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return flops.count(jax.jit(function).trace(*arguments).jaxpr, **options)


def pairs(size, stride):
    """Results and taps of a 3x3 kernel with one pixel of padding that meet a pixel, on one axis."""
    return sum(
        0 <= result * stride + tap - 1 < size
        for result in range(math.ceil(size / stride))
        for tap in range(3)
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_work_of_a_network_and_its_gradient(stride):
    """Two convolutions and a product: known by hand; each gradient costs as much as the product."""

    def loss(kernels, x):
        y = jax.nn.relu(convolution(x, kernels[0], stride))
        return (convolution(y, kernels[1]).mean((1, 2)) @ kernels[2]).sum()

    height, width = 12, 10
    kernels = [(3, 3, 5, 6), (3, 3, 6, 7), (7, 4)]
    first = 2 * 2 * pairs(height, stride) * pairs(width, stride) * 5 * 6
    h, w = math.ceil(height / stride), math.ceil(width / stride)
    second = 2 * 2 * pairs(h, 1) * pairs(w, 1) * 6 * 7
    last = 2 * 2 * 7 * 4
    forward = count_of(lambda x, *ks: loss(ks, x), (2, height, width, 5), *kernels)
    assert forward == first + second + last
    # The images have no gradient.
    both = count_of(lambda x, *ks: jax.value_and_grad(loss)(ks, x), (2, height, width, 5), *kernels)
    assert both == 2 * first + 3 * (second + last)


def test_work_in_loops_branches_and_inner_programs():
    square = (8, 8)
    once = 2 * 8**3

    def loop(x):
        return jax.lax.scan(lambda y, _: (jax.jit(jnp.matmul)(y, x), None), x, length=5)[0]

    assert count_of(loop, square) == 5 * once
    by_device = lambda x: jax.lax.platform_dependent(  # noqa: E731
        x, tpu=lambda y: y @ y @ y, default=lambda y: y @ y
    )
    assert count_of(by_device, square) == once
    choice = lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, lambda y: y @ y, x)  # noqa: E731
    assert count_of(choice, square) == 2 * once
    grouped = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (1,), ((0, 0),), dimension_numbers=("NHC", "HIO", "NHC"), feature_group_count=4
    )
    assert count_of(grouped, (1, 9, 8), (1, 2, 12)) == 2 * 9 * 2 * 12


def test_results_that_nobody_reads_do_not_count():
    both = jax.jit(lambda x: (x @ x, x @ x @ x))
    once = 2 * 8**3
    assert count_of(lambda x: both(x), (8, 8)) == 3 * once
    assert count_of(lambda x: both(x)[0], (8, 8)) == once
    assert count_of(lambda x: jax.lax.cond(x[0, 0] > 0, both, both, x)[0], (8, 8)) == once
    assert count_of(lambda x: (x @ x, x)[1], (8, 8)) == 0


def test_recomputed_work_is_no_use():
    architecture = multiscale.Architecture(
        "w18_small", 3, ocr_channels=8, ocr_key_channels=4, head_channels=4
    )

    def work(graphdef, params, stats):
        def loss(params, images):
            key = jax.random.key(0)
            outputs, _ = multiscale.apply(
                graphdef, params, stats, images, (1.0,), train=True, dropout_key=key
            )
            return outputs[1.0].logits.sum()

        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        return flops.count(jax.jit(jax.grad(loss)).trace(params, images).jaxpr)

    useful, *variables = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    remat, *_ = multiscale.initialize(architecture, dtype="float32", remat="modules", seed=0)
    assert isinstance(useful, nnx.GraphDef)
    assert work(remat, *variables) > 1.1 * work(useful, *variables)
    assert work(flops.without_recomputation(remat, *variables), *variables) == work(
        useful, *variables
    )
    assert flops.without_recomputation(useful, *variables) is useful
