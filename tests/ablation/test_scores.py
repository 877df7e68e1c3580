"""Figures over seeds, against plain numpy, and what follows for the paper's claims."""

import dataclasses
import json

import numpy as np
import pytest

from hmsa_jax.ablation import claims, results
from hmsa_jax.ablation.controls import Control
from hmsa_jax.ablation.costs import Cost, Costs
from hmsa_jax.ablation.networks import METHODS, NETWORKS
from hmsa_jax.ablation.scores import Scores
from hmsa_jax.ablation.tables import AVERAGE, HIERARCHICAL, TABLES
from hmsa_jax.inference import protocol
from hmsa_jax.metrics.image_confusions import ImageConfusions

IMAGES, SEEDS = 30, (0, 1, 2)


def counts(network, seed, right):
    """Of all protocols of a network, three classes; `right` of 100 pixels a class are hit."""
    rng = np.random.default_rng((len(network), seed))
    protocols = METHODS[NETWORKS[network].method]["evaluate.protocols"]
    names = tuple(protocol.parse(text).name for text in protocols)
    hits = np.eye(3, dtype=np.int32) * rng.integers(
        right - 3, right + 4, (IMAGES, len(names), 1, 1)
    )
    others = rng.integers(4, 8, (IMAGES, len(names), 3, 3)).astype(np.int32)
    images = tuple(f"image-{i}" for i in range(IMAGES))
    return ImageConfusions(images, names, ("a", "b", "c"), (hits + others).astype(np.int32))


def scores(**right):
    return Scores(
        {
            network: {seed: counts(network, seed, level + seed) for seed in SEEDS}
            for network, level in right.items()
        }
    )


def iou(confusions):
    hits = np.diagonal(confusions)
    return (hits / (confusions.sum(0) + confusions.sum(1) - hits)).mean()


def test_a_difference_is_that_of_numpy_and_its_interval_draws_images_and_seeds():
    found = scores(single=60, hierarchical=70)
    sides = ("single", AVERAGE), ("hierarchical", HIERARCHICAL)
    difference = found.difference(*sides, SEEDS)
    totals = [
        {seed: found.runs[network][seed].of(protocol.parse(text).name) for seed in SEEDS}
        for network, text in sides
    ]
    by_seed = {s: iou(totals[1][s].sum(0)) - iou(totals[0][s].sum(0)) for s in SEEDS}
    assert difference.by_seed == pytest.approx(by_seed)
    assert difference.mean == pytest.approx(np.mean(list(by_seed.values())))
    assert difference.deviation == pytest.approx(np.std(list(by_seed.values()), ddof=1))
    rng = np.random.default_rng(7)
    naive = []
    for _ in range(1000):
        images = rng.integers(0, IMAGES, (3, IMAGES))
        drawn = rng.integers(0, 3, 3)
        naive.append(
            np.mean(
                [
                    iou(totals[1][s][images[s]].sum(0)) - iou(totals[0][s][images[s]].sum(0))
                    for s in drawn
                ]
            )
        )
    spread = np.std(naive)
    np.testing.assert_allclose(difference.ends, np.percentile(naive, [2.5, 97.5]), atol=spread)


def test_one_seed_has_an_interval_of_its_images_and_no_deviation():
    found = scores(single=60).of(("single", AVERAGE), [1])
    assert np.isnan(found.deviation)
    assert found.ends[0] < found.mean < found.ends[1]


@pytest.mark.parametrize(
    ("levels", "word"),
    [((60, 70), "holds"), ((70, 60), "does not hold"), ((65, 65), "cannot be told")],
)
def test_a_claim_is_judged_by_its_interval(levels, word):
    found = scores(single=levels[0], hierarchical=levels[1])
    verdict = claims.judge(claims.CLAIMS[0], found)
    low, high = verdict.difference.ends
    assert {"holds": low > 0, "does not hold": high < 0}.get(word, low <= 0 <= high)
    assert verdict.word == word


def test_equally_good_allows_the_margin():
    claim = next(claim for claim in claims.CLAIMS if claim.margin)
    found = scores(explicit=60, hierarchical=60)
    difference = found.difference(claim.worse[0], claim.better, SEEDS)
    below = dataclasses.replace(claim, margin=0.001 - difference.ends[0])
    above = dataclasses.replace(claim, margin=-0.001 - difference.ends[1])
    assert claims.judge(below, found).word == "holds"
    assert claims.judge(above, found).word == "does not hold"


def test_the_best_of_the_others_is_what_is_to_be_beaten():
    levels = {"single_coarse": 60, "hierarchical_coarse": 70, "single_auto": 65}
    verdict = claims.judge(claims.CLAIMS[-1], scores(**levels, hierarchical_auto=80))
    assert verdict.worse == ("hierarchical_coarse", HIERARCHICAL)
    assert verdict.word == "holds"


def test_only_what_is_scored_is_judged_and_by_common_seeds():
    found = scores(single=60, hierarchical=70)
    del found.runs["single"][2]
    verdicts = claims.judge_all(found)
    assert {v.claim.better[0] for v in verdicts} == {"single", "hierarchical"}
    assert set(verdicts[0].difference.by_seed) == {0, 1}


def test_the_tables_say_what_is_there_and_what_is_not():
    found = scores(single=60, hierarchical=70)
    costs = Costs(
        "a machine",
        {"single": Cost(100, 10**9, 1.0), "explicit": Cost(525, 4 * 10**9, 4.0)}
        | {"hierarchical": Cost(125, None, 1.25)},
    )
    all_found = results.Results({"trunk": "x"}, found, claims.judge_all(found), costs, {})
    text = results.to_markdown(all_found)
    assert "| Explicit | explicit (0.5, 1, 2) | 51.4 | - | - | - | - | 5.25 (5.25) |" in text
    assert "| 1.25 (1.25) | 1.25 (1.17) | - |" in text
    hierarchical = next(
        line for line in text.splitlines() if "| hierarchical (0.5, 1, 2) | 51.6" in line
    )
    mean = 100 * found.of(("hierarchical", HIERARCHICAL), SEEDS).mean
    assert f"| {mean:.1f} |" in hierarchical
    rows = len(TABLES[0].rows) + 5  # claims on these two networks
    assert text.count("\n| ") == rows + 2 * 2
    assert text.count(results.UNSCORED) == 1  # Table 2


def test_the_tables_have_figures_of_the_seeds():

    found = scores(single=60, hierarchical=70)
    costs = Costs(
        "m", {n: Cost(100, 3 * 10**9, 1.0) for n in ("single", "explicit", "hierarchical")}
    )
    controls = {"mean attention": Control({0: 50.0, 1: 52.0}, {0: -1.0, 1: -2.0})}
    everything = results.Results({}, found, claims.judge_all(found), costs, controls)
    text = results.to_markdown(everything)
    figure = found.of(("hierarchical", HIERARCHICAL), SEEDS)
    percents = [100 * value for value in figure.by_seed.values()]
    low, high = (100 * end for end in figure.ends)
    row = next(line for line in text.splitlines() if "| hierarchical (0.5, 1, 2) | 51.6" in line)
    assert (
        f"| {np.mean(percents):.1f} | {np.std(percents, ddof=1):.1f} | {low:.1f} to {high:.1f}"
        f" | {' '.join(f'{p:.1f}' for p in percents)} |" in row
    )
    assert row.endswith("| 3.00 |")
    points = 100 * found.difference(("single", AVERAGE), ("hierarchical", HIERARCHICAL), SEEDS).mean
    assert f"| +2.2 | {points:+.1f} |" in text
    assert "| mean attention | 51.0 | -1.5 | -1.0 -2.0 |" in text
    written = json.loads(results.to_json(everything))["claims"][0]
    assert written["mean"] == pytest.approx(points, abs=1e-4)
