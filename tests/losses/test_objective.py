import dataclasses

import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.cross_entropy import binary_cross_entropy
from hmsa_jax.losses.objective import RMI, Objective
from hmsa_jax.losses.rmi import region_mutual_information
from hmsa_jax.models import fusion
from hmsa_jax.models.multiscale import ScaleOutput
from tests.models import numpy_reference

SIZE, CLASSES = (24, 40), 4


def objective(outputs, labels, **fields):
    return jax.jit(Objective(**{"main_loss": "cross_entropy"} | fields))(outputs, labels)


def random_outputs(scales, *, attention=True):
    rng = np.random.default_rng(0)

    def output(scale):
        head = (2, int(SIZE[0] * scale) // 4, int(SIZE[1] * scale) // 4)
        logits, aux = 3 * rng.standard_normal((2, *head, CLASSES), np.float32)
        weight = rng.uniform(0, 1, (*head, 1)).astype(np.float32)
        return ScaleOutput(logits, aux, weight if attention else None)

    return {scale: output(scale) for scale in scales}


@pytest.fixture
def labels():
    labels = np.random.default_rng(1).integers(0, CLASSES, (2, *SIZE), np.uint8)
    labels[:, :3] = 255
    return labels


def loss_of_fused(outputs, field, labels, resolution):
    """In training the paper's fusion takes place at the head of scale 1, then is enlarged."""
    logits = {scale: getattr(output, field) for scale, output in outputs.items()}
    attention = {scale: output.attention for scale, output in outputs.items()}
    size = SIZE if resolution == "image" else logits[1.0].shape[1:3]
    fused = numpy_reference.FUSE[resolution](logits, attention, size)
    return numpy_reference.cross_entropy(numpy_reference.resize(fused, SIZE), labels)


def loss_of_each(outputs, labels, resolution):
    total = 0
    for scale, output in outputs.items():
        logits = output.logits
        if resolution == "image":
            scaled = (int(SIZE[0] * scale), int(SIZE[1] * scale))
            logits = numpy_reference.resize(logits, scaled)
        total += numpy_reference.cross_entropy(numpy_reference.resize(logits, SIZE), labels)
    return total


@pytest.mark.parametrize("resolution", ["features", "image"])
def test_two_scales(resolution, labels):
    outputs = random_outputs((0.5, 1.0))
    loss, terms = objective(outputs, labels, scale_weight=0.05, fusion_resolution=resolution)
    expected = {
        "main": loss_of_fused(outputs, "logits", labels, resolution),
        "aux": loss_of_fused(outputs, "aux_logits", labels, resolution),
        "scales": loss_of_each(outputs, labels, resolution),
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)
    total = expected["main"] + 0.4 * expected["aux"] + 0.05 * expected["scales"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_without_scale_weight_there_is_no_such_term(labels):
    loss, terms = objective(random_outputs((0.5, 1.0)), labels)
    assert terms.keys() == {"main", "aux"}
    np.testing.assert_allclose(loss, terms["main"] + 0.4 * terms["aux"], rtol=1e-6)


@pytest.mark.parametrize("resolution", ["features", "image"])
def test_single_scale_needs_no_attention(resolution, labels):
    outputs = random_outputs((1.0,), attention=False)
    loss, terms = objective(outputs, labels, fusion_resolution=resolution)
    main, aux = (
        numpy_reference.cross_entropy(numpy_reference.resize(logits, SIZE), labels)
        for logits in (outputs[1.0].logits, outputs[1.0].aux_logits)
    )
    np.testing.assert_allclose(terms["main"], main, rtol=1e-5)
    np.testing.assert_allclose(loss, main + 0.4 * aux, rtol=1e-5)


def test_two_scales_need_attention(labels):
    with pytest.raises(ValueError, match=r"attention of scales \[0\.5\]"):
        objective(random_outputs((0.5, 1.0), attention=False), labels)


def test_network_without_auxiliary_head(labels):
    outputs = random_outputs((0.5, 1.0))
    expected, terms = objective(outputs, labels, aux_weight=0.0)
    assert terms.keys() == {"main"}
    outputs = {scale: dataclasses.replace(o, aux_logits=None) for scale, o in outputs.items()}
    loss, _ = objective(outputs, labels, aux_weight=0.0)
    assert loss == expected == terms["main"]


def test_class_weights_are_those_of_all_cross_entropies(labels):
    """A weight of one class alone: the others are as if they were not labelled."""
    outputs = random_outputs((0.5, 1.0))
    fields = {"aux_loss": "cross_entropy", "scale_weight": 0.3}
    _, weighted = objective(outputs, labels, **fields, class_weights=(0.0, 0.0, 2.0, 0.0))
    _, alone = objective(outputs, np.where(labels == 2, labels, 255).astype(np.uint8), **fields)
    assert weighted.keys() == {"main", "aux", "scales"}
    for name, term in weighted.items():
        np.testing.assert_allclose(term, alone[name], rtol=1e-5)
    fields |= {"aux_loss": "binary_cross_entropy"}
    _, other = objective(outputs, labels, **fields, class_weights=(0.0, 0.0, 2.0, 0.0))
    _, without = objective(outputs, labels, **fields)
    assert other["aux"] == without["aux"]


@pytest.mark.parametrize("resolution", ["features", "image"])
def test_explicit_shares(resolution, labels):
    """At the image: the mean of the enlarged logits, weighted by the enlarged shares."""
    outputs = random_outputs((0.5, 1.0, 2.0))
    head = (2, SIZE[0] // 4, SIZE[1] // 4)
    shares = np.random.default_rng(2).dirichlet((1, 1, 1), head).astype(np.float32)
    outputs = {
        scale: dataclasses.replace(output, attention=shares[..., i : i + 1])
        for i, (scale, output) in enumerate(sorted(outputs.items()))
    }
    _, terms = objective(outputs, labels, fuse=fusion.explicit, fusion_resolution=resolution)
    resize = numpy_reference.resize
    fused = 0
    for scale, output in outputs.items():
        if resolution == "image":
            scaled = (int(SIZE[0] * scale), int(SIZE[1] * scale))
            logits = resize(resize(output.logits, scaled), SIZE)
            fused = fused + resize(output.attention, SIZE) * logits
        else:
            product = resize(output.attention, output.logits.shape[1:3]) * output.logits
            fused = fused + resize(product, head[1:])
    expected = numpy_reference.cross_entropy(resize(fused, SIZE), labels)
    np.testing.assert_allclose(terms["main"], expected, rtol=1e-5)


def test_rmi_is_half_of_the_main_loss_and_no_part_of_the_scales(labels):
    outputs = random_outputs((1.0,), attention=False)
    fields = {"pool": 2, "radius": 2, "pooling": "max"}
    loss, terms = objective(
        outputs,
        labels,
        main_loss="rmi",
        rmi=RMI(weight=0.25, **fields),
        aux_loss="binary_cross_entropy",
        scale_weight=0.05,
    )
    logits, aux = (
        np.float32(numpy_reference.resize(x, SIZE))
        for x in (outputs[1.0].logits, outputs[1.0].aux_logits)
    )
    expected = {
        "bce": binary_cross_entropy(logits, labels),
        "rmi": region_mutual_information(logits, labels, **fields),
        "aux": binary_cross_entropy(aux, labels),
        "scales": binary_cross_entropy(logits, labels),
    }
    expected["main"] = 0.75 * expected["bce"] + 0.25 * expected["rmi"]
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, err_msg=name)
    total = expected["main"] + 0.4 * expected["aux"] + 0.05 * expected["scales"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)


def test_mean_over_images_is_that_of_devices_with_an_image_each(labels):
    """Each image by itself, then the mean, however many of its pixels are labelled."""
    outputs = random_outputs((0.5, 1.0))
    labels[0, 4:] = 255
    terms = {
        mean: objective(outputs, labels, scale_weight=0.05, mean_over=mean)[1]
        for mean in ("images", "pixels")
    }
    alone = [
        (jax.tree.map(lambda x, i=i: x[i : i + 1], outputs), labels[i : i + 1]) for i in range(2)
    ]
    expected = {
        "main": np.mean([loss_of_fused(o, "logits", y, "features") for o, y in alone]),
        "aux": np.mean([loss_of_fused(o, "aux_logits", y, "features") for o, y in alone]),
        "scales": np.mean([loss_of_each(o, y, "features") for o, y in alone]),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms["images"][name], value, rtol=1e-5, err_msg=name)
        assert abs(terms["pixels"][name] / value - 1) > 1e-3


def test_an_image_without_labels_adds_nothing(labels):
    outputs = random_outputs((1.0,), attention=False)
    labels[0] = 255
    options = {"aux_weight": 0.0, "main_loss": "binary_cross_entropy"}
    half, whole = (
        objective(outputs, labels, mean_over=mean, **options)[0] for mean in ("images", "pixels")
    )
    np.testing.assert_allclose(2 * half, whole, rtol=1e-5)


@pytest.mark.parametrize("mean", ["images", "pixels"])
def test_devices_exchange_sums_only(mean):
    """Each device computes the loss of its rows of its images: nothing is gathered."""
    mesh = sharding.make_mesh(4, 2)
    logits = jax.ShapeDtypeStruct(
        (4, *SIZE, CLASSES), np.float32, sharding=sharding.image_rows(mesh)
    )
    labels = jax.ShapeDtypeStruct((4, *SIZE), np.uint8, sharding=sharding.image_rows(mesh))

    def loss(logits, labels):
        outputs = {1.0: ScaleOutput(logits, None, None)}
        return Objective("binary_cross_entropy", aux_weight=0.0, mean_over=mean)(outputs, labels)[0]

    program = jax.jit(jax.value_and_grad(loss)).lower(logits, labels).compile().as_text()
    assert "all-reduce" in program
    for exchange in ("all-gather", "all-to-all", "collective-permute"):
        assert exchange not in program


def test_the_mean_over_images_is_that_of_the_cross_entropy_beside_rmi(labels):
    """As the defaults have it: main_loss=rmi, mean_over=images."""
    outputs = random_outputs((1.0,), attention=False)
    labels[0, 4:] = 255  # few pixels of the first image are labelled
    fields = {"main_loss": "rmi", "rmi": RMI(radius=2, pool=2), "aux_weight": 0.0}
    _, terms = Objective(**fields, mean_over="images")(outputs, labels)
    alone = []
    for i in range(2):
        own = jax.tree.map(lambda x, i=i: x[i : i + 1], outputs)
        logits = Objective(**fields)._fused({1.0: own[1.0].logits}, own, labels.shape[1:3])
        alone.append(float(binary_cross_entropy(logits, labels[i : i + 1])))
    np.testing.assert_allclose(terms["bce"], np.mean(alone), rtol=1e-5)
    expected = 0.5 * np.mean(alone) + 0.5 * terms["rmi"]
    np.testing.assert_allclose(terms["main"], expected, rtol=1e-5)
