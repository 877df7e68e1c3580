"""With published weights the networks reproduce the published predictions and gradients."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import fusion, multiscale, pretrained
from hmsa_jax.models.layers.resize import resize_bilinear
from tests.comparison import check
from tests.fixtures import seeded
from tests.fixtures.arrays import FOLDER, nhwc, read
from tests.models.published_network import RESNET, TINY, network

TOLERANCE = 1e-4  # of the largest value: what float32 deserves
PROTOCOLS = {
    "two": (0.5, 1.0),
    "ns3": (0.5, 1.0, 2.0),
    "ns4": (0.25, 0.5, 1.0, 2.0),
    "ns15": (0.5, 1.0, 1.5, 2.0),
}
# fixture -> network, images (seed and shape; None: in the fixture), prefix of the predictions
NETWORKS = {
    "mini_fixture": (TINY | {"classes": 7}, None, "out/"),
    "seeded_tiny": (TINY | {"classes": 7}, (11, (2, 3, 64, 96)), ""),
    "seeded_tiny_odd": (TINY | {"classes": 7}, (23, (2, 3, 65, 93)), ""),
    "seeded_mscale_r50": (RESNET, (11, (1, 3, 64, 128)), ""),
    "seeded_mscale_r50_odd": (RESNET, (23, (2, 3, 49, 65)), ""),
}
PLAIN = "plain/pred"  # of the network without attention
# Of one scale alone.
SUFFIXES = {
    "attn_05x": ("attn", 0.5),
    "attn_0.5x": ("attn", 0.5),
    "attn_1.0x": ("attn", 1.0),
    "pred_05x": ("pred", 0.5),
    "pred_10x": ("pred", 1.0),
}
# Before a BatchNorm a bias has no effect: its gradient is rounding.
WITHOUT_GRADIENT = {"ocr.conv3x3_ocr.0.bias", "ocr.aux_head.0.bias"}


def names_in(fixture):
    prefix = NETWORKS[fixture][2]
    with np.load(FOLDER / f"{fixture}.npz") as arrays:
        names = [name.removeprefix(prefix) for name in arrays.files if name.startswith(prefix)]
    return names


def load_case(fixture):
    """The network of a fixture, its images and the expected predictions."""
    fields, images, prefix = NETWORKS[fixture]
    arrays = read(fixture)
    state = {k.removeprefix("state/"): v for k, v in arrays.items() if k.startswith("state/")}
    images = arrays["x"] if images is None else seeded.inputs(*images)
    expected = {name: nhwc(arrays[prefix + name]) for name in names_in(fixture)}
    return fields, state or None, nhwc(images), expected


def predict(outputs, size, name):
    """One prediction as the published code gives it: at the size of the (scaled) image."""
    protocol, _, what = name.partition("/")
    if what == "pred" and protocol in PROTOCOLS:
        scales = PROTOCOLS[protocol]
        logits = {scale: outputs[scale].logits for scale in scales}
        attention = {scale: outputs[scale].attention for scale in scales}
        return fusion.hierarchical(logits, attention, size, resolution="image")
    what, scale = SUFFIXES.get(what, (what, 1.0))
    output = outputs[scale]
    head = {"pred": output.logits, "cls_out": output.logits, "aux_out": output.aux_logits}
    value = output.attention if what == "attn" else head[what]
    return resize_bilinear(value, fusion.scaled_size(size, scale))


@pytest.fixture(scope="module")
def predictions():
    """fixture -> name -> (prediction, expectation); every network is compiled once."""
    done = {}

    def of(fixture):
        if fixture not in done:
            fields, state, images, expected = load_case(fixture)
            names = [name for name in names_in(fixture) if name != PLAIN]
            graphdef, *values = network(multiscale.Architecture(**fields), state)
            protocols = {name.partition("/")[0] for name in names} & PROTOCOLS.keys()
            scales = tuple({1.0, *(s for p in protocols for s in PROTOCOLS[p])})

            def run(params, batch_stats, images):
                outputs, _ = multiscale.apply(
                    graphdef, params, batch_stats, images, scales, train=False
                )
                return {name: predict(outputs, images.shape[1:3], name) for name in names}

            got = jax.jit(run)(*values, images)
            done[fixture] = {name: (got[name], expected[name]) for name in names}
        return done[fixture]

    return of


@pytest.mark.parametrize(
    ("fixture", "name"),
    [(fixture, name) for fixture in NETWORKS for name in names_in(fixture) if name != PLAIN],
)
def test_predictions(fixture, name, predictions, record_property):
    check(record_property, *predictions(fixture)[name], TOLERANCE)


@pytest.mark.parametrize("fixture", ["seeded_tiny_odd", "seeded_mscale_r50_odd"])
def test_networks_without_attention(fixture, record_property):
    fields, _, images, expected = load_case(fixture)
    graphdef, *values = network(multiscale.Architecture(**fields, attention="none"))

    def run(params, batch_stats, images):
        outputs, _ = multiscale.apply(graphdef, params, batch_stats, images, (1.0,), train=False)
        return resize_bilinear(outputs[1.0].logits, images.shape[1:3])

    got = jax.jit(run)(*values, images)
    check(record_property, got, expected[PLAIN], TOLERANCE)


def test_bfloat16_stays_near():
    fields, state, images, expected = load_case("mini_fixture")
    graphdef, *values = network(multiscale.Architecture(**fields), state, dtype="bfloat16")

    def run(params, batch_stats, images):
        outputs, _ = multiscale.apply(graphdef, params, batch_stats, images, (1.0,), train=False)
        return resize_bilinear(outputs[1.0].logits, images.shape[1:3])

    got = jax.jit(run)(*values, images)
    expected = expected["single/cls_out"]
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert 1e-4 < error < 3e-2


def training_step(architecture, state, images, labels, objective, dtype):
    """Loss, its terms, gradients and running statistics of one step, by published name."""
    graphdef, params, batch_stats = network(architecture, state, dtype=dtype)

    def loss_fn(params, batch_stats, images, labels):
        outputs, batch_stats = multiscale.apply(
            graphdef,
            params,
            batch_stats,
            images,
            (0.5, 1.0),
            train=True,
            dropout_key=jax.random.key(0),
        )
        loss, terms = objective(outputs, labels)
        return loss, (terms, batch_stats)

    step = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    (loss, (terms, batch_stats)), gradients = step(
        params, batch_stats, nhwc(images).astype(dtype), jnp.asarray(labels)
    )
    gradients = pretrained.export(gradients, {}, architecture, updates=0)
    batch_stats = pretrained.export({}, batch_stats, architecture, updates=0)
    batch_stats = {k: v for k, v in batch_stats.items() if not k.endswith("_tracked")}
    loss, terms = jax.device_get((loss, terms))
    return SimpleNamespace(loss=loss, terms=terms, gradients=gradients, batch_stats=batch_stats)


@pytest.fixture(scope="module")
def cross_entropy_step():
    """In float64: a ReLU input near zero changes its sign with the processor in float32."""
    arrays = read("tiny_train_ce")
    with jax.enable_x64(True):
        step = training_step(
            multiscale.Architecture(**TINY, classes=19),
            read("tiny_state"),
            arrays["x"],
            arrays["gts"],
            Objective(main_loss="cross_entropy", scale_weight=0.05, fusion_resolution="image"),
            "float64",
        )
    return step, arrays


@pytest.fixture(scope="module")
def rmi_steps():
    """The published recipe: RMI, auxiliary and per-scale binary cross-entropy."""
    arrays = read("seeded_tiny_train")

    def step(dtype):
        return training_step(
            multiscale.Architecture(**TINY, classes=7),
            None,
            seeded.inputs(11, (2, 3, 64, 96)),
            arrays["labels"],
            Objective(
                aux_loss="binary_cross_entropy", scale_weight=0.05, fusion_resolution="image"
            ),
            dtype,
        )

    with jax.enable_x64(True):
        double = step("float64")
    return SimpleNamespace(arrays=arrays, double=double, single=step("float32"))


def of_kind(arrays, kind):
    """The arrays `kind/NAME` by name."""
    return {k.removeprefix(kind): v for k, v in arrays.items() if k.startswith(kind)}


def largest_error(got, expected):
    """Over all names, the largest difference relative to the largest value of that name."""
    return max(
        np.abs(got[name] - value).max() / np.abs(value).max() for name, value in expected.items()
    )


def relative_l2(got, expected):
    return max(
        np.linalg.norm(got[name] - value) / np.linalg.norm(value)
        for name, value in expected.items()
    )


def assert_below(error, tolerance, record_property):
    record_property("error", float(error))
    record_property("tolerance", tolerance)
    assert error < tolerance


def test_loss_with_cross_entropy(cross_entropy_step, record_property):
    step, arrays = cross_entropy_step
    assert_below(abs(step.loss / arrays["loss"] - 1), 1e-6, record_property)


def test_gradients_with_cross_entropy(cross_entropy_step, record_property):
    step, arrays = cross_entropy_step
    expected = of_kind(arrays, "grad/")
    assert step.gradients.keys() == expected.keys()
    for name in WITHOUT_GRADIENT:
        np.testing.assert_allclose(step.gradients[name], 0, atol=1e-12)
        del expected[name]
    assert_below(relative_l2(step.gradients, expected), 1e-6, record_property)


def test_running_statistics_with_cross_entropy(cross_entropy_step, record_property):
    step, arrays = cross_entropy_step
    expected = of_kind(arrays, "after/")
    assert step.batch_stats.keys() == expected.keys()
    assert_below(largest_error(step.batch_stats, expected), 1e-6, record_property)


def test_loss_with_rmi_in_float64(rmi_steps, record_property):
    error = abs(rmi_steps.double.loss / rmi_steps.arrays["loss_f64"] - 1)
    assert_below(error, 1e-6, record_property)


def test_terms_with_rmi_in_float64(rmi_steps, record_property):
    """Auxiliary, main and the two scales' own losses, each by itself."""
    aux, main, low, high = rmi_steps.arrays["parts_f64"]
    terms = rmi_steps.double.terms
    errors = [terms["aux"] / aux - 1, terms["main"] / main - 1, terms["scales"] / (low + high) - 1]
    assert_below(np.abs(errors).max(), 1e-6, record_property)


def test_gradients_with_rmi_in_float64(rmi_steps, record_property):
    expected = of_kind(rmi_steps.arrays, "grad64/")
    assert_below(relative_l2(rmi_steps.double.gradients, expected), 1e-6, record_property)


def test_norms_of_all_gradients_with_rmi_in_float64(rmi_steps, record_property):
    norms = dict(
        zip(rmi_steps.arrays["gradnorm_keys"], rmi_steps.arrays["gradnorm64"], strict=True)
    )
    gradients = rmi_steps.double.gradients
    assert gradients.keys() == norms.keys()
    for name in WITHOUT_GRADIENT:
        np.testing.assert_allclose(gradients[name], 0, atol=1e-12)
        del norms[name]
    errors = [abs(np.linalg.norm(gradients[name]) / norm - 1) for name, norm in norms.items()]
    assert_below(max(errors), 1e-6, record_property)


def test_running_statistics_with_rmi_in_float64(rmi_steps, record_property):
    expected = of_kind(rmi_steps.arrays, "after64/")
    assert_below(largest_error(rmi_steps.double.batch_stats, expected), 1e-6, record_property)


def test_loss_with_rmi_in_float32(rmi_steps, record_property):
    error = abs(rmi_steps.single.loss / rmi_steps.arrays["loss_f64"] - 1)
    assert_below(error, 1e-5, record_property)


def test_gradients_with_rmi_in_float32(rmi_steps, record_property):
    expected = of_kind(rmi_steps.arrays, "grad64/")
    assert_below(relative_l2(rmi_steps.single.gradients, expected), 1e-2, record_property)


def test_running_statistics_with_rmi_in_float32(rmi_steps, record_property):
    expected = of_kind(rmi_steps.arrays, "after64/")
    assert_below(largest_error(rmi_steps.single.batch_stats, expected), TOLERANCE, record_property)
