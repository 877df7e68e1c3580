"""The charts, read back as XML."""

import xml.etree.ElementTree as ET

import pytest

from hmsa_jax.report import charts

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {"single (1)": [(50, 10.0), (100, 30.0)], "<max>": [(50, 20.0), (100, 50.5)]}


def drawn(curves, best=None):
    return ET.fromstring(charts.lines("Mean IoU, %", curves, best=best, from_zero=True))


def test_points_lie_where_the_axes_say():
    root = drawn(CURVES)
    axes = {(e.get("text-anchor"), e.text): e for e in root.iter(f"{SVG}text")}
    x = {step: float(axes["middle", str(step)].get("x")) for step in (0, 100)}
    y = {percent: float(axes["end", str(percent)].get("y")) - 4 for percent in (0, 40)}
    lines = [e.get("points") for e in root.iter(f"{SVG}polyline")]
    for line, curve in zip(lines, CURVES.values(), strict=True):
        for point, (step, percent) in zip(line.split(), curve, strict=True):
            across, down = map(float, point.split(","))
            assert across == pytest.approx(x[0] + step / 100 * (x[100] - x[0]), abs=0.1)
            assert down == pytest.approx(y[0] + percent / 40 * (y[40] - y[0]), abs=0.1)


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


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = [(step, float(step % 7)) for step in range(1, 100_001)]
    (line,) = drawn({"p": curve}).iter(f"{SVG}polyline")
    points = line.get("points").split()
    assert len(points) < 500
    across = [float(point.split(",")[0]) for point in points]
    assert (across[0], across[-1]) == (62, 616)


def test_an_axis_of_small_numbers_or_of_one_has_a_scale():
    for values in ((1e-5, 2e-5), (0.0, 0.0), (-3.0, -3.0), (5.0, 5.0), (1e9, 3e9)):
        root = ET.fromstring(charts.lines("rate", {"p": list(enumerate(values))}))
        ticks = [e.text for e in root.iter(f"{SVG}text") if e.get("text-anchor") == "end"]
        assert 1 <= len({float(tick) for tick in ticks}) == len(ticks) <= 12
        for number in root.iter(f"{SVG}circle"):
            assert 0 < float(number.get("cy")) < 330


def test_bars_and_shares_are_as_long_as_their_percents():
    rows = [charts.Row("<road>", [25.0, float("nan")]), charts.Row("sky", [50.0, 50.0], "9 px")]

    def ends(figure):
        root = ET.fromstring(figure)
        texts = {e.text: float(e.get("x")) for e in root.iter(f"{SVG}text")}
        assert {"<road>", "sky", "a", "b & c"} <= texts.keys()
        found = []
        for bar in root.iter(f"{SVG}rect"):
            if bar.find(f"{SVG}title") is not None:
                x, width = float(bar.get("x")), float(bar.get("width"))
                span = texts["100 %"] - texts["0 %"]
                found.append([(place - texts["0 %"]) / span for place in (x, x + width)])
        return found

    of_bars = ends(charts.bars("IoU", ["a", "b & c"], rows))
    assert of_bars == [pytest.approx(pair, abs=2e-3) for pair in ([0, 0.25], [0, 0.5], [0, 0.5])]
    of_shares = ends(charts.shares("shares", {"a": 0, "b & c": "#123456"}, rows))
    assert of_shares == [pytest.approx(pair, abs=2e-3) for pair in ([0, 0.25], [0, 0.5], [0.5, 1])]


def test_reliability_has_a_diagonal_and_its_points():
    root = ET.fromstring(charts.reliability("r", {"p": [(0.0, 0.0), (50.0, 100.0)]}))
    dots = [(float(e.get("cx")), float(e.get("cy"))) for e in root.iter(f"{SVG}circle")]
    texts = {(e.get("text-anchor"), e.text): e for e in root.iter(f"{SVG}text")}
    assert dots[1][0] == float(texts["middle", "50"].get("x"))
    assert dots[1][1] == float(texts["end", "100"].get("y")) - 4


def test_intervals_lie_where_the_scale_says_and_points_beside_them():
    rows = [
        charts.Interval("a", 2.0, (1.0, 3.5), [1.5, 2.5], "holds"),
        charts.Interval("<b>", -1.0, (float("nan"), float("nan")), [-1.0]),
    ]
    root = ET.fromstring(charts.intervals("Difference, points", rows, has_zero=True))
    ticks = {
        float(e.text): float(e.get("x"))
        for e in root.iter(f"{SVG}text")
        if e.get("text-anchor") == "middle"
    }
    assert 0.0 in ticks
    (low, high), one = sorted(ticks)[:: len(ticks) - 1], ticks[0.0]
    a_point = (ticks[high] - ticks[low]) / (high - low)

    def across(value):
        return pytest.approx(one + value * a_point, abs=0.2)

    (line,) = [e.get("points").split() for e in root.iter(f"{SVG}polyline")]  # of b none is known
    assert [float(end.split(",")[0]) for end in line] == [across(1.0), across(3.5)]
    circles = list(root.iter(f"{SVG}circle"))
    rings = [float(e.get("cx")) for e in circles if e.get("fill") == "none"]
    dots = [float(e.get("cx")) for e in circles if e.get("fill") != "none"]
    assert rings == [across(2.0), across(-1.0)]
    assert dots == [across(1.5), across(2.5), across(-1.0)]
    texts = [e.text for e in root.iter(f"{SVG}text")]
    assert {"a", "<b>", "holds"} <= set(texts)


@pytest.mark.parametrize("name", ["歩行者用道路標識", "歩行者用道路標識" * 5, "a" * 60])
def test_names_of_wide_characters_stay_on_the_chart(name):
    for svg in (
        charts.bars("t", ["a"], [charts.Row(name, [50.0])]),
        charts.intervals("t", [charts.Interval(name, 1.0, (0.5, 1.5))]),
    ):
        texts = [each for each in ET.fromstring(svg).iter(f"{SVG}text") if each.text]
        (shown,) = [each for each in texts if each.text.rstrip("…") in name and each.text != "a"]
        wide = sum(ord(c) > 0x3000 for c in shown.text)
        pixels = 13 * wide + 6 * (len(shown.text) - wide)
        assert shown.get("text-anchor") == "end"
        assert pixels <= float(shown.get("x")) + 8 < 320


def test_a_legend_names_each_colour():
    legend = ET.fromstring(charts.legend(("道路", "<sky>"), ((10, 20, 30), (255, 255, 255))))
    assert [each.text for each in legend.iter(f"{SVG}text")] == ["道路", "<sky>"]
    assert [each.get("fill") for each in legend.iter(f"{SVG}rect")][-2:] == ["#0a141e", "#ffffff"]
