"""The front and the choice against brute force, and what is written of them."""

import dataclasses
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hmsa_jax.inference import protocol
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.inference.scale_subsets import SINGLE, pieces_of, subsets_of
from hmsa_jax.metrics import bootstrap
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import cost_chart, results, scale_costs
from hmsa_jax.report.scale_costs import PAPER, ScaleCosts
from hmsa_jax.runtime.progress import console

SUBSETS = subsets_of((0.25, 0.5, 0.75, 1.0, 1.5, 2.0))
PIECES = {piece for subset in SUBSETS for piece in pieces_of(subset)}
FLOPS = {(r, is_highest): round(1000 * r**2) - 40 * is_highest for r, is_highest in PIECES}
SECONDS = {(r, is_highest): 0.01 + 0.02 * r - 0.001 * is_highest for r, is_highest in PIECES}


@pytest.fixture(scope="module")
def confusions():
    """Labels that do not depend on the subset; some subsets are right more often than others."""
    rng = np.random.default_rng(0)
    labelled = rng.integers(50, 400, (30, 1, 3))
    right = rng.uniform(0.6, 0.9, (1, len(SUBSETS), 3))
    wrong = rng.binomial(np.broadcast_to(labelled, (30, len(SUBSETS), 3)), 1 - right)[..., None]
    diagonal = np.eye(3, dtype=int)
    counts = diagonal * (labelled[..., None] - wrong) + np.roll(diagonal, 1, 1) * wrong
    names = tuple(subset.name for subset in SUBSETS)
    images = tuple(f"image{i}" for i in range(30))
    return ImageConfusions(images, names, ("road", "sky", "fence"), counts.astype(np.int32))


def costs_of(confusions, *, by="flops", budget=None, seconds=SECONDS):
    return ScaleCosts.of(confusions, SUBSETS, flops=FLOPS, seconds=seconds, by=by, budget=budget)


def brute_force(cost, reached):
    """Numbers of those than which no other one is as cheap and as good, the cheapest first."""
    front = [
        i
        for i in range(len(cost))
        if not any(
            cost[j] <= cost[i] and reached[j] >= reached[i] for j in range(len(cost)) if j != i
        )
    ]
    return sorted(front, key=lambda i: cost[i])


@pytest.mark.parametrize("by", ["flops", "seconds"])
def test_front_and_choice_are_those_of_brute_force(confusions, by):
    pieces = {"flops": FLOPS, "seconds": SECONDS}[by]
    single = pieces[1.0, True]
    cost = [
        sum(pieces[scale, scale == max(subset.scales)] for scale in subset.scales) / single
        for subset in SUBSETS
    ]
    reached = [mean_iou(confusions.totals[subset.name]) for subset in SUBSETS]
    front = brute_force(cost, reached)
    assert 2 < len(front) < len(SUBSETS)
    costs = costs_of(confusions, by=by)
    assert [each.protocol for each in costs.front] == [SUBSETS[i] for i in front]
    assert [costs.cost(each) for each in costs.subsets] == pytest.approx(cost)
    for budget in (1, 1.5, 3, 8, None):
        within = [i for i in range(len(SUBSETS)) if budget is None or cost[i] <= budget]
        best = max(within, key=lambda i: reached[i])
        assert costs_of(confusions, by=by, budget=budget).choice.protocol == SUBSETS[best]
    shown = [each.protocol for each in costs.shown]
    assert {SINGLE, PAPER, *(SUBSETS[i] for i in front)} == set(shown)
    assert len(set(shown)) == len(shown)


def test_differences_are_paired(confusions):
    each = costs_of(confusions).subsets[3]
    mine, other = (
        bootstrap.mean_iou_of_resamples(confusions.of(p.name)) for p in (each.protocol, PAPER)
    )
    assert each.ends == pytest.approx(bootstrap.interval(mine - other))
    assert each.ends[0] < each.beyond < each.ends[1]


def test_what_is_measured_in_whole_counts_where_it_is_known(confusions):
    front = costs_of(confusions, by="seconds").front
    before, chosen = front[1:3]
    budget = 1.01 * chosen.seconds / front[0].seconds
    costs = costs_of(confusions, by="seconds", budget=budget)
    assert costs.choice == chosen
    seconds = {each.protocol: each.seconds for each in costs.shown}
    seconds[chosen.protocol] *= 1.02
    measured = costs.with_measured(seconds)
    assert measured.cost(measured.of_protocol(chosen.protocol)) > budget
    assert measured.choice.protocol == before.protocol
    assert {each.protocol for each in measured.front} <= seconds.keys()


def test_all_is_written_down(confusions):
    costs = costs_of(confusions, budget=3.0)
    costs = costs.with_measured({each.protocol: 0.05 for each in costs.shown})
    written = json.loads(scale_costs.to_json(costs, {"machine": "m"}, split="a/b", step=3))
    assert (written["split"], written["reference"]) == ("a/b", "hierarchical:0.5,1,2")
    assert list(written["protocols"]) == [subset.name for subset in SUBSETS]
    row = written["protocols"]["hierarchical (0.5, 1)"]
    assert row["protocol"] == "hierarchical:0.5,1"
    assert row["flops"] == FLOPS[0.5, False] + FLOPS[1.0, True]
    assert row["mean_iou"] == pytest.approx(
        100 * mean_iou(confusions.totals["hierarchical (0.5, 1)"]), abs=1e-4
    )
    of_costs, choice = written["costs"], costs.choice
    assert of_costs["choice"] == choice.protocol.text in of_costs["front"]
    assert of_costs["on_halves"]["unseen"] == pytest.approx(100 * costs.selection.unseen, abs=1e-4)
    # What is measured anew takes the place of what was; other scales go beside it.
    others = dataclasses.replace(costs, subsets=costs.subsets[:3], selection=None)
    texts = [scale_costs.to_json(each, {"machine": m}) for each, m in ((costs, "m"), (costs, "n"))]
    assert results.kind_of(texts[0]) == results.kind_of(texts[1])
    assert results.kind_of(texts[0]) != results.kind_of(scale_costs.to_json(others, {}))
    lines = scale_costs.sentences(costs)
    assert f"--config.evaluate.protocols={choice.protocol.text}" in lines[0]
    assert lines[0].startswith("Within 3 times the FLOPs of scale 1 alone")
    assert "optimistic" in lines[1]
    assert len(scale_costs.sentences(dataclasses.replace(costs, budget=1.0))) == 1  # no choice
    text = scale_costs.to_markdown(costs, "t", lines, "p.svg")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert len({len(row) for row in rows}) == 1
    assert len(rows) == 2 + len(costs.shown)
    with console.capture() as capture:
        console.print(scale_costs.to_table(costs, "a/b, step 3"))
    assert "50.0" in capture.get()


def test_without_times_or_the_papers_list_there_is_a_table_too(confusions):
    subsets = tuple(s for s in SUBSETS if s != PAPER)
    few = dataclasses.replace(confusions, counts=confusions.counts[:3], images=("a", "b", "c"))
    costs = ScaleCosts.of(few, subsets, flops=FLOPS, seconds=None, by="flops", budget=None)
    assert costs.reference == SINGLE
    assert costs.selection is None
    text = scale_costs.to_markdown(costs, "t", scale_costs.sentences(costs), "p.svg")
    assert "ms an image" not in text
    assert f"Of all {len(subsets)} subsets" in text
    odd = Protocol("hierarchical", (1 / 3, 0.75, 1.0))
    assert protocol.parse(odd.text) == odd
    assert protocol.parse(SINGLE.text) == SINGLE


def test_the_chart_has_the_front_on_a_line_and_all_others_as_dots(confusions):
    costs = costs_of(confusions)
    root = ET.fromstring(scale_costs.to_svg(costs))
    svg = "{http://www.w3.org/2000/svg}"
    line = next(root.iter(f"{svg}polyline")).get("points").split()
    assert len(line) == len(costs.front)
    across = [float(point.split(",")[0]) for point in line]
    down = [float(point.split(",")[1]) for point in line]
    assert across == sorted(across)
    assert down == sorted(down, reverse=True)
    # The axis is logarithmic.
    cost = np.log([costs.cost(each) for each in costs.front])
    np.testing.assert_allclose(
        np.diff(across) / np.diff(cost), (across[-1] - across[0]) / (cost[-1] - cost[0]), rtol=0.02
    )
    hints = [e.text for e in root.iter(f"{svg}title")]
    assert len([hint for hint in hints if hint and " at " in hint]) > len(costs.shown)
    texts = [e.text for e in root.iter(f"{svg}text")]
    assert f"single (1): {100 * costs.of_protocol(SINGLE).mean_iou:.1f} at 1.00" in texts


def test_what_lies_far_below_is_counted_and_not_drawn():
    unknown = (float("nan"), float("nan"))
    kept = [cost_chart.Point("a", 1, 50.0, (49.0, 51.0))]
    others = [cost_chart.Point(*each, unknown) for each in (("b", 2, 49.0), ("c", 2, 10.0))]
    root = ET.fromstring(cost_chart.front("t", kept, [], others, "bars"))
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-1] == "bars; 1 more lie below"
    hints = [e.text for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "b: 49.0 at 2.00" in hints
    assert "c: 10.0 at 2.00" not in hints


def test_the_rows_of_scale_costs_are_their_subsets(confusions):
    costs = costs_of(confusions)
    text = scale_costs.to_markdown(costs, "t", [], "p.svg")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    single = costs.of_protocol(scale_costs.SINGLE)
    for row, each in zip(rows[2:], costs.shown, strict=True):
        scales = each.protocol.scales
        flops = sum(FLOPS[s, s == max(scales)] for s in scales) / FLOPS[1.0, True]
        assert row[0] == each.protocol.name
        assert row[2] == f"{100 * each.mean_iou:.1f}"
        assert row[5:7] == [f"{flops:.2f}", f"{each.seconds / single.seconds:.2f}"]
        assert row[7] == f"{1000 * each.seconds:.1f}"
