"""What the paper claims of its tables, and whether that holds here."""

import dataclasses
from collections.abc import Sequence

from hmsa_jax.ablation.networks import THREE
from hmsa_jax.ablation.scores import Figure, Scores, Side
from hmsa_jax.ablation.tables import (
    AVERAGE,
    AVERAGE_4,
    HIERARCHICAL,
    HIERARCHICAL_4,
)

AS_GOOD = 0.005
"""A mean IoU that is lower by less than this, a fraction, counts as equally good."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper: that one side is better than another.

    Attributes:
      text: the claim, in words.
      brief: the same in a few, for charts.
      better: the side that is said to have the higher mean IoU.
      worse: the sides that are said to have a lower one; with several it is that of the highest
        mean.
      margin: by which `better` may be lower all the same, a fraction.
      paper: the difference in the paper, in points.
    """

    text: str
    brief: str
    better: Side
    worse: tuple[Side, ...]
    paper: float
    margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a claim holds.

    Attributes:
      claim: which.
      worse: the side that it was compared with.
      difference: of the mean IoUs.
      word: 'holds', 'does not hold' or 'cannot be told'.
    """

    claim: Claim
    worse: Side
    difference: Figure
    word: str


CLAIMS = (
    Claim(
        "Hierarchical attention is better than the average of the single-scale network",
        "hierarchical - average",
        ("hierarchical", HIERARCHICAL),
        (("single", AVERAGE),),
        2.2,
    ),
    Claim(
        "Hierarchical attention is better than the single scale",
        "hierarchical - single scale",
        ("hierarchical", HIERARCHICAL),
        (("single", "single"),),
        3.9,
    ),
    Claim(
        "The average is better than the single scale",
        "average - single scale",
        ("single", AVERAGE),
        (("single", "single"),),
        1.7,
    ),
    Claim(
        "Scale 0.25 helps the hierarchy",
        "hierarchical: with 0.25 - without",
        ("hierarchical", HIERARCHICAL_4),
        (("hierarchical", HIERARCHICAL),),
        0.6,
    ),
    Claim(
        "Scale 0.25 hurts the average",
        "average: without 0.25 - with",
        ("single", AVERAGE),
        (("single", AVERAGE_4),),
        0.7,
    ),
    Claim(
        f"Hierarchical attention is as good as explicit attention, to {100 * AS_GOOD:g} points",
        "hierarchical - explicit",
        ("hierarchical", HIERARCHICAL),
        (("explicit", f"explicit:{THREE}"),),
        0.2,
        AS_GOOD,
    ),
    Claim(
        "Auto-labels are better than coarse labels, without attention",
        "auto-labels - coarse labels",
        ("single_auto", AVERAGE),
        (("single_coarse", AVERAGE),),
        1.1,
    ),
    Claim(
        "Auto-labels are better than coarse labels, with attention",
        "both - coarse labels, attention",
        ("hierarchical_auto", HIERARCHICAL),
        (("hierarchical_coarse", HIERARCHICAL),),
        0.9,
    ),
    Claim(
        "Attention and auto-labels together are best",
        "both - the best of the others",
        ("hierarchical_auto", HIERARCHICAL),
        (
            ("single_coarse", AVERAGE),
            ("hierarchical_coarse", HIERARCHICAL),
            ("single_auto", AVERAGE),
        ),
        0.3,
    ),
)


def judge(claim: Claim, scores: Scores) -> Verdict | None:
    """Whether a claim holds by the seeds that all its sides have; None if they have none.

    It holds if the whole interval of the difference lies above 0 (above -margin, where that is what
    is claimed), does not hold if all of it lies below, and cannot be told otherwise.
    """
    seeds = scores.seeds(claim.better, *claim.worse)
    if not seeds:
        return None
    worse = max(claim.worse, key=lambda side: scores.of(side, seeds).mean)
    difference = scores.difference(worse, claim.better, seeds)
    return Verdict(claim, worse, difference, _word(difference, -claim.margin))


def judge_all(scores: Scores) -> Sequence[Verdict]:
    """The verdicts on all claims whose networks are scored."""
    return [verdict for claim in CLAIMS if (verdict := judge(claim, scores)) is not None]


def _word(difference: Figure, limit: float) -> str:
    low, high = difference.ends
    if low > limit:
        return "holds"
    return "does not hold" if high < limit else "cannot be told"
