"""Colours against Pillow, colorsys, OpenCV and scipy, and the chances that choose them."""

import colorsys
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance

from hmsa_jax.distributed import sharding
from hmsa_jax.input import photometric
from hmsa_jax.input.photometric import Photometric, as_operations

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
ALL = Photometric(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.25, blur=True)


def an_image(height=48, width=64, seed=0):
    """Smooth and colourful, over the whole range of values, brighter below; uint8 `[H, W, 3]`."""
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3) + 0.1 * noise
    smooth += np.linspace(0, 0.4, height).reshape(-1, 1, 1)
    return cv2.normalize(smooth, None, -20, 275, cv2.NORM_MINMAX).clip(0, 255).astype(np.uint8)


def on_planes(function, image, *arguments):
    """Calls a function of `[3, H, W]` with `[H, W, 3]`."""
    planes = jnp.asarray(image, jnp.float32).transpose(2, 0, 1)
    return np.asarray(function(planes, *arguments)).transpose(1, 2, 0)


@pytest.mark.parametrize("factor", [0.0, 0.75, 1.1, 1.8])
@pytest.mark.parametrize("operation", [0, 1, 2])
def test_a_factor_is_pillows(operation, factor):
    """Pillow cuts the result to whole numbers, and rounds the grey to which it blends."""
    image = an_image()
    ours = on_planes(photometric.adjust, image, as_operations(*[factor] * 3)[operation])
    theirs = np.asarray(ENHANCERS[operation](Image.fromarray(image)).enhance(factor), np.float32)
    assert ours.min() >= 0
    assert ours.max() <= 255
    assert abs(ours - theirs).max() <= 1 + 0.5 * abs(1 - factor) + 1e-3


@pytest.mark.parametrize("turn", [-0.25, 0.1, 0.5])
def test_hue_is_that_of_colorsys(turn):
    values = [0.0, 100.0, 101.0, 255.0]  # greys and ties among them
    image = np.array(list(itertools.product(values, repeat=3)), np.float32)[None]
    expected = []
    for pixel in image[0] / 255:
        hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))
        expected.append(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
    ours = on_planes(photometric.adjust, image, as_operations(turn=turn)[3])
    np.testing.assert_allclose(ours[0], 255 * np.array(expected), atol=1e-3)


@pytest.mark.parametrize("turn", [-0.25, 0.125, 0.25])
def test_hue_is_pillows_but_for_its_rounding(turn):
    """With 256 hues Pillow is up to half a step off twice: of 6 x 255 / 256 in a channel."""
    image = an_image()
    hsv = np.asarray(Image.fromarray(image).convert("HSV")).copy()
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)
    theirs = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"), np.float32)
    difference = abs(on_planes(photometric.turn_hue, image, turn) - theirs)
    assert difference.max() <= 8
    assert difference.mean() < 1.5


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_operations_follow_one_another(order):
    operations = as_operations(1.25, 0.75, 1.2, 0.1)
    expected = an_image()
    for operation in order:
        expected = on_planes(photometric.adjust, expected, operations[operation])
    ours = on_planes(photometric.jitter, an_image(), operations[jnp.array(order)])
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.15, 0.7, 1.3])
def test_blur_is_a_gaussian(sigma):
    image = an_image()
    ours = on_planes(photometric.gaussian_blur, image, sigma)
    image = image.astype(np.float32)
    opencv = cv2.GaussianBlur(image, (11, 11), sigma, borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(ours, opencv, atol=1e-3)
    # Cut at four deviations, as in the published code.
    cut = scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4)
    np.testing.assert_allclose(ours, cut, atol=0.05)


def test_neutral_operations_change_nothing():
    image = an_image()
    np.testing.assert_array_equal(on_planes(photometric.jitter, image, as_operations()), image)


def test_off_is_nothing_at_all():
    images = an_image()[None]
    assert Photometric()(jax.random.key(0), images) is images


def test_amounts_and_orders():
    chances = jax.random.uniform(jax.random.key(0), (4800, 8))
    strengths = Photometric(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.4)
    rows = np.asarray(jax.vmap(strengths.choose_operations)(chances))
    factor, mean_share, grey_share, turn = np.moveaxis(rows, -1, 0)
    kinds = np.select([turn != 0, grey_share == 1, mean_share == 1], [3, 2, 1], 0)

    for kind, strength in enumerate((0.1, 0.2, 0.3)):
        assert_uniform(factor[kinds == kind], 1 - strength, 1 + strength)
        first = factor[:, 0][kinds[:, 0] == kind]  # the order says nothing about the amount
        assert_uniform(first, 1 - strength, 1 + strength)
    assert_uniform(turn[kinds == 3], -0.4, 0.4)
    np.testing.assert_array_equal(np.sort(kinds), np.tile(np.arange(4), (4800, 1)))
    _, counts = np.unique(kinds, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-squared, 23 degrees of freedom: 0.1 %


def test_every_image_has_its_own_factor():
    images = np.full((1000, 1, 1, 3), 100, np.uint8)
    augment = jax.jit(Photometric(brightness=0.25))
    factors = np.asarray(augment(jax.random.key(0), images))[:, 0, 0, 0] / 100
    assert_uniform(factors, 0.75, 1.25)
    assert len(np.unique(factors)) > 990


def test_every_image_has_its_own_blur():
    images = np.zeros((1000, 11, 11, 3), np.uint8)
    images[:, 5, 5] = 255
    augment = jax.jit(Photometric(blur=True))
    blurred = np.asarray(augment(jax.random.key(0), images), np.float64)
    ratio = blurred[:, 5, 5, 0] / blurred[:, 5, 6, 0]  # exp(1 / (2 sigma^2))
    assert_uniform(np.sqrt(0.5 / np.log(ratio)), *photometric.SIGMA)


def assert_uniform(values, low, high):
    """Within the bounds, near both, and with the mean and deviation of a uniform number."""
    width = high - low
    assert low - 1e-5 <= values.min() < low + 0.02 * width
    assert high - 0.02 * width < values.max() <= high + 1e-5
    assert abs(values.mean() - (low + high) / 2) < 0.03 * width
    assert abs(values.std() - width / np.sqrt(12)) < 0.02 * width


@pytest.fixture(scope="module")
def augmented():
    """Eight images, on one device."""
    images = np.stack([an_image(64, 32, seed) for seed in range(8)])
    return images, np.asarray(jax.jit(ALL)(jax.random.key(0), images))


def test_key_and_place_decide(augmented):
    images, expected = augmented
    again = jax.jit(ALL)(jax.random.key(0), images[:2])
    np.testing.assert_allclose(again, expected[:2], atol=1e-3)
    assert abs(jax.jit(ALL)(jax.random.key(1), images[:2]) - expected[:2]).max() > 5
    assert abs(expected - images).max() > 5
    assert (expected.min(), expected.max()) == (
        pytest.approx(0, abs=30),
        pytest.approx(255, abs=30),
    )


def test_sharding_changes_nothing(augmented):
    """Batch over 4 devices and rows over 2: the same, and rows stay where they are."""
    images, expected = augmented
    mesh = sharding.make_mesh(4, 2)
    rows = sharding.image_rows(mesh)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    images = jax.device_put(images, rows)
    compiled = jax.jit(ALL, out_shardings=rows).lower(key, images).compile()
    np.testing.assert_allclose(compiled(key, images), expected, atol=1e-3)
    text = compiled.as_text()
    assert "all-reduce" in text  # of the mean grey
    assert "all-gather" not in text
    assert "all-to-all" not in text


def test_float32_whatever_the_default():
    with jax.enable_x64(True):
        shape = jax.eval_shape(ALL, jax.random.key(0), jnp.zeros((2, 16, 16, 3), jnp.uint8))
    assert (shape.shape, shape.dtype) == ((2, 16, 16, 3), jnp.float32)


def test_normalize():
    pixel = np.array([[0, 128, 255]], np.uint8)
    expected = (pixel / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(photometric.normalize(pixel), expected, rtol=1e-5)
