"""Images on a canvas are resized by themselves, and what a canvas cannot do is refused."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.models.layers import canvas
from hmsa_jax.models.layers.canvas import Canvas
from hmsa_jax.models.trunks import TRUNKS
from tests.models import numpy_reference


def test_each_image_is_resized_by_its_own_sizes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 32, 64, 2), np.float32)
    sizes, resized = [(5, 64), (32, 9), (17, 33)], [(11, 40), (8, 31), (1, 1)]
    of = Canvas((32, 64), jnp.array(sizes))
    got = canvas.resize(x, of, Canvas((32, 64), jnp.array(resized)))
    for i, ((rows, columns), size) in enumerate(zip(sizes, resized, strict=True)):
        expected = np.zeros((32, 64, 2), np.float32)
        image = numpy_reference.resize(x[i : i + 1, :rows, :columns], size)[0]
        expected[: size[0], : size[1]] = image
        np.testing.assert_allclose(got[i], expected, atol=1e-6)


def test_positions_that_int32_does_not_hold_are_refused():
    x = jnp.zeros((1, 1, 32768, 1), jnp.bfloat16)
    of = Canvas((1, 32768), jnp.array([[1, 30000]]))
    with pytest.raises(
        ValueError, match="images of 32768 pixels a side cannot be resized to 65536"
    ):
        canvas.resize(x, of, Canvas((1, 65536), jnp.array([[1, 60000]])))


def test_a_trunk_whose_stride_no_canvas_has_is_refused():
    with pytest.raises(ValueError, match="coarsest_stride=64; expected a divisor of 32"):
        dataclasses.replace(TRUNKS.get("w18"), coarsest_stride=64)
