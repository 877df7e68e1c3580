"""The figure of scores by step, read back as XML."""

import xml.etree.ElementTree as ET

import pytest

from hmsa_jax.report import score_curve

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {"single (1)": [(50, 10.0), (100, 30.0)], "<max>": [(50, 20.0), (100, 50.5)]}


def drawn(curves, best=None):
    return ET.fromstring(score_curve.to_svg(curves, best))


def test_points_lie_where_the_axes_say():
    root = drawn(CURVES)
    axes = {(e.get("text-anchor"), e.text): e for e in root.iter(f"{SVG}text")}
    x = {step: float(axes["middle", str(step)].get("x")) for step in (0, 100)}
    y = {percent: float(axes["end", str(percent)].get("y")) - 4 for percent in (0, 60)}
    lines = [e.get("points") for e in root.iter(f"{SVG}polyline")]
    for line, curve in zip(lines, CURVES.values(), strict=True):
        for point, (step, percent) in zip(line.split(), curve, strict=True):
            across, down = map(float, point.split(","))
            assert across == pytest.approx(x[0] + step / 100 * (x[100] - x[0]), abs=0.1)
            assert down == pytest.approx(y[0] + percent / 60 * (y[60] - y[0]), abs=0.1)


def test_the_key_has_the_last_values_and_the_best_is_marked():
    root = drawn(CURVES, (50, 20.0))
    texts = [e.text for e in root.iter(f"{SVG}text")]
    assert texts.index("<max>: 50.5") < texts.index("single (1): 30.0")
    assert texts[-1] == "best: 20.0, step 50"
    rings = [e for e in root.iter(f"{SVG}circle") if e.get("fill") == "none"]
    dots = [e for e in root.iter(f"{SVG}circle") if e.get("fill") != "none"]
    assert {(r.get("cx"), r.get("cy")) for r in rings} & {(d.get("cx"), d.get("cy")) for d in dots}


@pytest.mark.parametrize("last", [1, 7, 40, 1300, 10**6])
def test_a_few_steps_are_named(last):
    texts = drawn({"p": [(last, 0.0)]}).iter(f"{SVG}text")
    steps = [int(e.text) for e in texts if e.get("text-anchor") == "middle"]
    assert steps[0] == 0
    assert steps[-1] <= last
    assert 2 <= len(steps) <= 7
