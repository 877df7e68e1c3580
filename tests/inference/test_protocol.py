import jax.numpy as jnp
import numpy as np
import pytest

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol, parse, parse_all
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.models.multiscale import ScaleOutput
from tests.models import numpy_reference


@pytest.mark.parametrize(
    ("text", "method", "scales", "name"),
    [
        ("single", "single", (1.0,), "single (1)"),
        ("single:1", "single", (1.0,), "single (1)"),
        ("average:0.5,1", "average", (0.5, 1.0), "average (0.5, 1)"),
        ("max:1,2", "max", (1.0, 2.0), "max (1, 2)"),
        ("hierarchical:2,0.25,1,0.5", "hierarchical", (0.25, 0.5, 1.0, 2.0), None),
        ("hierarchical:0.5,1.0,1.75", "hierarchical", (0.5, 1.0, 1.75), None),
    ],
)
def test_good_protocols(text, method, scales, name):
    protocol = parse(text)
    assert protocol == Protocol(method, scales)
    if name:
        assert protocol.name == name


@pytest.mark.parametrize("text", ["hierarchical:0.5,1,2@50%", "hierarchical:1,1.5@7%"])
def test_a_window_is_in_the_name_and_both_are_read_again(text):
    protocol = parse(text)
    scales, percent = text.partition(":")[2].rstrip("%").split("@")
    assert protocol.name == f"hierarchical ({scales.replace(',', ', ')}) at {percent} %"
    assert (protocol.percent, protocol.is_selective) == (int(percent), True)
    assert protocol.whole_scales == protocol.scales[:-1]
    assert protocol_lib.of_name(protocol.name) == protocol
    assert (protocol.text, parse(protocol.text)) == (text, protocol)
    whole = parse(text.partition("@")[0] + "@100%")
    assert (whole.name, whole.text) == (protocol.name.partition(" at")[0], text.partition("@")[0])
    assert whole.whole_scales == protocol.scales


def test_name_lists_the_scales_in_ascending_order():
    assert parse("hierarchical:2,0.25,1,0.5").name == "hierarchical (0.25, 0.5, 1, 2)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":0.5,1",
        "median:0.5,1",
        "Single",
        "single:0.5",
        "single:0.5,1",
        "hierarchical",
        "hierarchical:",
        "hierarchical:1",
        "average:0.5,2",
        "average:0.5,1,1",
        "max:0,1",
        "max:-1,1",
        "max:1,nan",
        "max:1,inf",
        "max:1,two",
        "max:0.5,,1",
        "max:0.5,1,",
        "max 0.5,1",
        "max:0.5;1",
        "single@50%",
        "average:0.5,1,2@50%",
        "hierarchical:0.5,1@50%",
        "hierarchical:0.5,1,2@50",
        "hierarchical:0.5,1,2@",
        "hierarchical:0.5,1,2@0%",
        "hierarchical:0.5,1,2@101%",
        "hierarchical:0.5,1,2@12.5%",
        "hierarchical:0.5,1,2@-5%",
        "hierarchical:0.5,1,2@50%@50%",
        "hierarchical@50%",
    ],
)
def test_bad_protocols_are_refused_and_named(text):
    with pytest.raises(ValueError, match="METHOD:SCALES") as error:
        parse(text)
    assert repr(text) in str(error.value)


def test_several_protocols_keep_their_order():
    assert parse_all(["max:1,2", "single"]) == (Protocol("max", (1, 2)), Protocol("single", (1,)))
    with pytest.raises(ValueError, match="a protocol is 'median'; expected METHOD:SCALES"):
        parse_all(("single", "median"))


@pytest.fixture
def outputs():
    rng = np.random.default_rng(0)

    def output(rows):
        logits, aux = rng.standard_normal((2, 1, rows, rows, 3), np.float32)
        return ScaleOutput(logits, aux, rng.uniform(size=(1, rows, rows, 1)).astype(np.float32))

    return {0.5: output(2), 1.0: output(4), 2.0: output(8)}


@pytest.mark.parametrize(
    ("text", "fuse"),
    [("single", fusion.single), ("average:0.5,1", fusion.average), ("max:0.5,1", fusion.maximum)],
)
def test_prediction_uses_the_scales_of_the_protocol_alone(outputs, text, fuse):
    logits = {scale: outputs[scale].logits for scale in parse(text).scales}
    expected = fuse(logits, (16, 16), resolution="features")
    got = parse(text).predict(outputs, (16, 16), "features")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("resolution", fusion.RESOLUTIONS)
def test_hierarchical_prediction_uses_logits_and_attention(outputs, resolution):
    protocol = parse("hierarchical:0.5,1")
    logits = {scale: outputs[scale].logits for scale in protocol.scales}
    attention = {scale: outputs[scale].attention for scale in protocol.scales}
    expected = fusion.hierarchical(logits, attention, (16, 16), resolution=resolution)
    got = protocol.predict(outputs, (16, 16), resolution)
    np.testing.assert_array_equal(got, expected)


@pytest.fixture
def runs(monkeypatch):
    """Instead of a network that which returns the scaled image; the sizes that it ran."""
    done = []

    def apply(graphdef, params, batch_stats, images, scales, *, train, sizes, scaled_size=None):
        assert sizes is None
        outputs = {}
        for scale in scales:
            size = (scaled_size or fusion.scaled_size)(images.shape[1:3], scale)
            done.append(size)
            logits = resize_bilinear(images, size)
            outputs[scale] = ScaleOutput(logits, None, jnp.full((*logits.shape[:3], 1), 0.25))
        return outputs, batch_stats

    monkeypatch.setattr(multiscale, "apply", apply)
    return done


@pytest.mark.parametrize("resolution", fusion.RESOLUTIONS)
def test_the_average_rounds_odd_sizes_and_the_hierarchy_cuts_them_off(runs, resolution):
    """As the published code: 37.5 and 50.5 become 38 and 50 there, 37 and 50 here."""
    size = (75, 101)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    texts = ("single", "average:0.5,1,1.5", "max:0.5,1,1.5", "hierarchical:0.5,1")
    outputs = protocol_lib.predict_all(
        parse_all(texts), None, None, None, images, resolution=resolution, flip=False
    )
    single, average, largest, hierarchical = (output.logits for output in outputs)
    assert runs == [(37, 50), (75, 101), (38, 50), (112, 152)]
    whole = np.asarray(normalize(images), np.float64)
    low, high = (
        numpy_reference.resize(numpy_reference.resize(whole, scaled), size)
        for scaled in [(38, 50), (112, 152)]
    )
    floored = numpy_reference.resize(numpy_reference.resize(whole, (37, 50)), size)
    np.testing.assert_allclose(single, whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(average, (low + whole + high) / 3, rtol=0, atol=1e-6)
    np.testing.assert_allclose(largest, np.maximum(np.maximum(low, whole), high), rtol=0, atol=1e-6)
    np.testing.assert_allclose(hierarchical, 0.25 * floored + 0.75 * whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("flip", [False, True])
def test_each_scale_by_itself_adds_up_by_its_weights(runs, flip):
    """What a scale says, and its weight, make the whole again; a maximum has no weights."""
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    texts = ("single", "average:0.5,1,2", "hierarchical:0.25,0.5,1,2", "max:0.5,1")
    *linear, largest = protocol_lib.predict_all(
        parse_all(texts),
        None,
        None,
        None,
        images,
        resolution="features",
        flip=flip,
        each_scale=True,
    )
    assert [sorted(output.scales.logits) for output in linear] == [
        [1],
        [0.5, 1, 2],
        [0.25, 0.5, 1, 2],
    ]
    for output in linear:
        by_scale = output.scales
        whole = sum(by_scale.weights[scale] * by_scale.logits[scale] for scale in by_scale.logits)
        np.testing.assert_allclose(sum(by_scale.weights.values()), 1, rtol=1e-6)
        np.testing.assert_allclose(whole, output.logits, rtol=0, atol=1e-5)
    assert linear[2].scales.weights[2].mean() < 0.5
    assert largest.scales.weights is None


def test_each_size_runs_once(runs):
    protocols = parse_all(("single", "average:0.5,1,2", "hierarchical:0.25,0.5,1,2"))
    images = np.zeros((1, 64, 96, 3), np.uint8)
    protocol_lib.predict_all(protocols, None, None, None, images, resolution="features", flip=False)
    assert runs == [(16, 24), (32, 48), (64, 96), (128, 192)]


def test_a_scale_that_leaves_nothing_is_named():
    for size_of in (fusion.scaled_size, fusion.rounded_size):
        with pytest.raises(
            ValueError, match=r"^scale 0\.004 leaves nothing of an image of 64 x 96"
        ):
            size_of((64, 96), 0.004)


def test_images_with_logits_that_are_not_finite_are_named():
    logits = np.zeros((3, 2, 2, 4), np.float32)
    logits[1, 0, 1, 2], logits[2, 1, 1, 0] = np.nan, -np.inf
    assert protocol_lib.is_finite(logits).tolist() == [True, False, False]
    protocol_lib.refuse_not_finite([])
    with pytest.raises(FloatingPointError, match=r"not finite for a, b, c, d, e and 2 more: its"):
        protocol_lib.refuse_not_finite(list("abcdefg"))
