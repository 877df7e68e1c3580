import numpy as np
import pytest

from hmsa_jax.evaluation_protocol import Protocol, parse, parse_all
from hmsa_jax.models import fusion
from hmsa_jax.models.multiscale import ScaleOutput


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
    ],
)
def test_bad_protocols_are_refused_and_named(text):
    with pytest.raises(ValueError, match="METHOD:SCALES") as error:
        parse(text)
    assert repr(text) in str(error.value)


def test_several_protocols_keep_their_order():
    assert parse_all(["max:1,2", "single"]) == (Protocol("max", (1, 2)), Protocol("single", (1,)))
    with pytest.raises(ValueError, match="protocol 'median'"):
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
