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
    """The texts of a figure, and the bars beside the axis as (colour, x, width)."""
    root = ET.fromstring(memory_figure.to_svg(rows))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    bars = [
        (element.get("fill"), float(element.get("x")), float(element.get("width")))
        for element in root.iter(f"{SVG}rect")
        if element.get("height") == "17"
    ]
    return texts, bars


def test_a_bar_is_as_long_as_its_fraction_of_the_limit():
    row = a_row("v5e:2x2", arguments=2, temporaries=5, peak=8, limit=16)
    texts, bars = texts_and_bars([row])
    assert {"v5e:2x2 train", "8 GiB / 16 GiB"} <= set(texts)
    colours, begins, widths = zip(*bars, strict=True)
    assert len(set(colours)) == 3
    full = memory_figure._RIGHT - memory_figure._LEFT
    assert widths == pytest.approx([full / 8, full * 5 / 16, full / 16], abs=0.2)
    assert begins == pytest.approx([165, 165 + full / 8, 165 + full * 7 / 16], abs=0.2)


def test_what_does_not_fit_passes_the_limit():
    rows = [
        a_row("v5e", "does not fit", peak=20, limit=16),
        a_row("cpu:1", "does not fit", arguments=1, temporaries=30, peak=31, limit=16),
    ]
    _, bars = texts_and_bars(rows)
    assert len(bars) == 2
    for colour, begin, width in bars:
        assert colour == "#ce5c52"
        assert begin + width > memory_figure._RIGHT


def test_rows_without_memory_are_left_out_and_names_are_escaped():
    failed = {"target": "h100:8", "step": "train", "status": "failed"}
    texts, bars = texts_and_bars(
        [failed, a_row("<&>", arguments=1, temporaries=0, peak=1, limit=4)]
    )
    assert not any("h100" in text for text in texts)
    assert "<&> train" in texts
    assert len(bars) == 1
