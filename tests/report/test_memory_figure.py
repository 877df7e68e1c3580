"""The figure of memory, read back as XML."""

import xml.etree.ElementTree as ET

import pytest

from hmsa_jax.report import memory_figure

SVG = "{http://www.w3.org/2000/svg}"
GIB = 2**30


def a_row(target, status="fits", **gib):
    return {
        "target": target,
        "step": "train",
        "status": status,
        "memory": {name: round(size * GIB) for name, size in gib.items()},
    }


def texts_and_bars(rows):
    """The texts of a figure, and the bars as (colour, begin, end), in parts of the limit."""
    root = ET.fromstring(memory_figure.to_svg(rows))
    texts = {element.text: float(element.get("x")) for element in root.iter(f"{SVG}text")}
    left, right = texts["0 %"], texts["100 %"]

    def part(x):
        return (x - left) / (right - left)

    bars = [
        (
            element.get("fill"),
            part(float(element.get("x"))),
            part(float(element.get("x")) + float(element.get("width"))),
        )
        for element in root.iter(f"{SVG}rect")
        if element.get("height") == "17"
    ]
    return texts, bars


def test_a_bar_is_as_long_as_its_fraction_of_the_limit():
    row = a_row("v5e:2x2", arguments=2, temporaries=5, peak=8, limit=16)
    texts, bars = texts_and_bars([row])
    assert {"v5e:2x2 train", "8 GiB / 16 GiB"} <= texts.keys()
    colours, begins, ends = zip(*bars, strict=True)
    assert len(set(colours)) == 3
    assert begins == pytest.approx([0, 1 / 8, 7 / 16], abs=2e-3)
    assert ends == pytest.approx([1 / 8, 7 / 16, 1 / 2], abs=2e-3)


def test_what_does_not_fit_passes_the_limit():
    rows = [
        a_row("v5e", "does not fit", peak=20, limit=16),
        a_row("cpu:1", "does not fit", arguments=1, temporaries=30, peak=31, limit=16),
    ]
    _, bars = texts_and_bars(rows)
    assert len(bars) == 2
    for colour, begin, end in bars:
        assert colour == "#ce5c52"
        assert begin == 0
        assert end > 1


def test_rows_without_memory_are_left_out_and_names_are_escaped():
    failed = {"target": "h100:8", "step": "train", "status": "failed"}
    texts, bars = texts_and_bars(
        [failed, a_row("<&>", arguments=1, temporaries=0, peak=1, limit=4)]
    )
    assert not any("h100" in text for text in texts)
    assert "<&> train" in texts
    assert len(bars) == 1
