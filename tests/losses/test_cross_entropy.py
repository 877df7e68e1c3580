import jax
import numpy as np
import pytest

from hmsa_jax.losses.cross_entropy import cross_entropy
from tests.fixtures.arrays import nhwc, read
from tests.models import numpy_reference

value_and_grad = jax.jit(jax.value_and_grad(cross_entropy))


def random_case(seed=0, classes=4):
    rng = np.random.default_rng(seed)
    logits = 5 * rng.standard_normal((2, 5, 7, classes), np.float32)
    labels = rng.integers(0, classes, (2, 5, 7), np.uint8)
    return logits, labels


def test_equals_pytorch():
    arrays = read("losses")
    value, gradient = value_and_grad(nhwc(arrays["logits"]), arrays["labels_ce"])
    np.testing.assert_allclose(value, arrays["ce/value"], rtol=1e-6)
    expected = nhwc(arrays["ce/grad"])
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("ignored", [4, 100, 255])
def test_labels_that_are_no_class_are_ignored(ignored):
    logits, labels = random_case()
    labels[:, 1:3] = ignored
    value, gradient = value_and_grad(logits, labels)
    np.testing.assert_allclose(value, numpy_reference.cross_entropy(logits, labels), rtol=1e-5)
    np.testing.assert_array_equal(gradient[:, 1:3], 0)
    assert (gradient[:, 3:] != 0).all()


def test_mean_is_over_the_pixels_of_the_batch_not_over_images():
    logits, labels = random_case()
    labels[0, :4] = 255
    value, _ = value_and_grad(logits, labels)
    by_image = [numpy_reference.cross_entropy(logits[[i]], labels[[i]]) for i in range(2)]
    assert abs(value - np.mean(by_image)) > 1e-2
    np.testing.assert_allclose(value, np.average(by_image, weights=[7, 35]), rtol=1e-5)


def test_nothing_labelled_is_zero_with_zero_gradient():
    logits, labels = random_case()
    value, gradient = value_and_grad(logits, np.full_like(labels, 255))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_large_logits_are_finite():
    logits, labels = random_case()
    value, gradient = value_and_grad(1000 * logits, labels)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
