import jax
import numpy as np
import pytest

from hmsa_jax.losses.cross_entropy import cross_entropy, image_weighted_cross_entropy
from tests.comparison import check
from tests.fixtures.arrays import nhwc, read
from tests.models import numpy_reference

value_and_grad = jax.jit(jax.value_and_grad(cross_entropy))
weighted_value_and_grad = jax.jit(
    jax.value_and_grad(image_weighted_cross_entropy), static_argnames="bound"
)


def random_case(seed=0, classes=4):
    rng = np.random.default_rng(seed)
    logits = 5 * rng.standard_normal((2, 5, 7, classes), np.float32)
    labels = rng.integers(0, classes, (2, 5, 7), np.uint8)
    return logits, labels


@pytest.mark.parametrize("quantity", ["value", "grad"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
def test_equals_pytorch(dtype, tolerance, quantity, record_property):
    arrays = read("losses")
    with jax.enable_x64(dtype == "float64"):
        logits = nhwc(arrays["logits"]).astype(dtype)
        value, gradient = value_and_grad(logits, arrays["labels_ce"])
    assert value.dtype == gradient.dtype == dtype
    if quantity == "value":
        check(record_property, value, arrays["ce/f64/value"], tolerance)
    else:
        check(record_property, gradient, nhwc(arrays["ce/f64/grad"]), tolerance)


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


@pytest.mark.parametrize("ignored", [4, 255])
def test_weighted_mean_of_classes(ignored):
    """The definition of PyTorch's CrossEntropyLoss(weight): sum of w x loss over the sum of w."""
    logits, labels = random_case()
    labels[:, 1:3] = ignored
    weights = (0.5, 0.0, 3.0, 10.0)
    shifted = logits - logits.max(-1, keepdims=True)
    per_class = np.log(np.exp(shifted).sum(-1, keepdims=True)) - shifted
    total = weight = 0.0
    for place in zip(*np.nonzero(labels < 4), strict=True):
        label = labels[place]
        total += weights[label] * per_class[(*place, label)]
        weight += weights[label]
    run = jax.jit(jax.value_and_grad(cross_entropy), static_argnames="class_weights")
    value, gradient = run(logits, labels, class_weights=weights)
    np.testing.assert_allclose(value, total / weight, rtol=1e-5)
    np.testing.assert_array_equal(gradient[labels == 1], 0)
    assert (gradient[labels == 3] != 0).all()
    same, _ = run(logits, labels, class_weights=(2.0,) * 4)
    np.testing.assert_allclose(same, cross_entropy(logits, labels), rtol=1e-6)
    for nothing in (np.full_like(labels, 255), np.ones_like(labels)):  # unlabelled, of no weight
        value, gradient = run(logits, nothing, class_weights=weights)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


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


def weighted_reference(logits, labels, bound):
    """Image by image, in float64."""
    classes = logits.shape[-1]
    counts = np.bincount(labels[labels < classes], minlength=classes)
    weights = 1 + bound * (counts > 0) * (1 - counts / counts.sum())
    total = 0
    for z, label in zip(np.float64(logits), labels, strict=True):
        z, label = z[label < classes], label[label < classes]
        if len(z):
            loss = np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), label]
            total += np.average(loss, weights=weights[label])
    return total


@pytest.mark.parametrize("quantity", ["value", "grad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_image_weighted_equals_pytorch(dtype, quantity, record_property):
    arrays = read("losses")
    with jax.enable_x64(dtype == "float64"):
        logits = nhwc(arrays["logits"]).astype(dtype)
        value, gradient = weighted_value_and_grad(logits, arrays["labels_ce"])
    assert value.dtype == gradient.dtype == dtype
    got, expected = {
        "value": (value, arrays["imgce/value"]),
        "grad": (gradient, nhwc(arrays["imgce/grad"])),
    }[quantity]
    check(record_property, got, expected, 1e-6)


def test_class_weights_leave_out_ignored_pixels(record_property):
    """The published histogram counts label C as the last class; ours does not."""
    arrays = read("losses")
    classes = arrays["logits"].shape[1]
    assert (arrays["labels"] == classes).any()
    onto_one = np.zeros((*arrays["labels"].shape, classes), np.float32)
    # With these logits a pixel's loss is log C, but for class c: the gradient shows the weights.
    _, gradient = weighted_value_and_grad(onto_one, arrays["labels"])
    ratio = []
    for label in range(classes):
        pixel = tuple(np.argwhere(arrays["labels"][:1] == label)[0])
        ratio.append(-gradient[pixel][label])
    weights = arrays["imgce/weights"]
    check(record_property, np.array(ratio) / ratio[0], weights / weights[0], 1e-6)
    published = arrays["imgce/weights_with_label_C"]
    assert np.abs(published / published[0] - weights / weights[0]).max() > 1e-4


@pytest.mark.parametrize("bound", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_image_weighted_equals_definition(dtype, bound):
    logits, labels = random_case()
    labels[labels == 2] = 0  # an absent class
    labels[0, :3] = 4
    labels[1, 2, :3] = 255
    with jax.enable_x64(dtype == "float64"):
        value, gradient = weighted_value_and_grad(logits.astype(dtype), labels, bound=bound)
    expected = weighted_reference(logits, labels, bound)
    np.testing.assert_allclose(value, expected, rtol=1e-6 if dtype == "float32" else 1e-12)
    np.testing.assert_array_equal(gradient[labels >= 4], 0)
    assert np.isfinite(gradient).all()


def test_image_without_labelled_pixels_adds_nothing():
    logits, labels = random_case()
    labels[1] = 255
    value, gradient = weighted_value_and_grad(logits, labels)
    alone, _ = weighted_value_and_grad(logits[:1], labels[:1])
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    np.testing.assert_array_equal(gradient[1], 0)
    value, gradient = weighted_value_and_grad(logits, np.full_like(labels, 255))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_image_weighted_large_logits_are_finite():
    logits, labels = random_case()
    value, gradient = weighted_value_and_grad(1e4 * np.sign(logits), labels)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
