import jax
import numpy as np
import pytest

from hmsa_jax.losses.cross_entropy import binary_cross_entropy
from tests.comparison import check
from tests.fixtures.arrays import nhwc, read

value_and_grad = jax.jit(jax.value_and_grad(binary_cross_entropy))


def random_case(seed=0, classes=4):
    rng = np.random.default_rng(seed)
    logits = 5 * rng.standard_normal((2, 5, 7, classes), np.float32)
    labels = rng.integers(0, classes, (2, 5, 7), np.uint8)
    labels[0, :2] = 255
    return logits, labels


def reference(logits, labels):
    """From the definition, in float64."""
    classes = logits.shape[-1]
    target = labels[..., None] == np.arange(classes)
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    loss = -np.log(np.where(target, probability, 1 - probability))
    return loss[labels < classes].sum() / ((labels < classes).sum() + 1)


@pytest.mark.parametrize("quantity", ["value", "grad"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-7)])
def test_equals_pytorch(dtype, tolerance, quantity, record_property):
    arrays = read("losses")
    with jax.enable_x64(dtype == "float64"):
        logits = nhwc(arrays["logits"]).astype(dtype)
        value, gradient = value_and_grad(logits, arrays["labels"])
    assert value.dtype == gradient.dtype == dtype
    if quantity == "value":  # known in float32 only
        check(record_property, value, arrays["bce/value"], 1e-6)
    else:
        check(record_property, gradient, nhwc(arrays["bce/f64/grad"]), tolerance)


@pytest.mark.parametrize("ignored", [4, 100, 255])
def test_labels_that_are_no_class_are_ignored(ignored):
    logits, labels = random_case()
    labels[:, 1:3] = ignored
    value, gradient = value_and_grad(logits, labels)
    np.testing.assert_allclose(value, reference(logits, labels), rtol=1e-6)
    np.testing.assert_array_equal(gradient[:, 1:3], 0)
    assert (gradient[:, 3:] != 0).all()


def test_divisor_counts_the_labelled_pixels_of_the_batch():
    logits, labels = random_case()
    value, _ = value_and_grad(np.zeros_like(logits), labels)
    count = (labels < 4).sum()
    np.testing.assert_allclose(value, 4 * np.log(2) * count / (count + 1), rtol=1e-6)


def test_nothing_labelled_is_zero_with_zero_gradient():
    logits, labels = random_case()
    value, gradient = value_and_grad(logits, np.full_like(labels, 255))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("size", [0.0, 30.0, 1e4])
def test_gradient_is_probability_minus_label_for_any_logit(size):
    _, labels = random_case()
    sign = np.random.default_rng(1).choice(np.float32([-1, 1]), (*labels.shape, 4))
    value, gradient = value_and_grad(size * sign, labels)
    target = labels[..., None] == np.arange(4)
    valid = labels[..., None] < 4
    # p, or p - 1 = -1 / (1 + exp(x)), which has no small difference of large numbers.
    toward = np.where(target, 1, -1)
    expected = -toward / (1 + np.exp(np.clip(toward * size * sign.astype(np.float64), None, 700)))
    expected = expected * valid / (valid.sum() + 1)
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-30)


def test_saturated_and_wrong_costs_the_logit():
    labels = np.zeros((1, 2, 2), np.uint8)
    logits = np.full((1, 2, 2, 2), [-1e4, 1e4], np.float32)
    value, _ = value_and_grad(logits, labels)
    np.testing.assert_allclose(value, 2e4 * 4 / 5, rtol=1e-6)
    value, _ = value_and_grad(-logits, labels)
    assert value == 0
