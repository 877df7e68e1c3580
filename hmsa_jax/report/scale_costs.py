"""What sets of scales reach and what they cost: the front, a choice, and how both are shown."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.table

from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.inference.scale_subsets import SINGLE, Piece, pieces_of
from hmsa_jax.metrics import bootstrap, selection
from hmsa_jax.metrics.confusion import mean_iou
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.metrics.selection import SPLITS, Selection
from hmsa_jax.report import cost_chart
from hmsa_jax.report.results import interval_text, percent

BY = {"flops": "FLOPs", "seconds": "time"}
PAPER = Protocol("hierarchical", (0.5, 1.0, 2.0))  # section 4


@dataclasses.dataclass(frozen=True)
class Subset:
    """A set of scales.

    Attributes:
      protocol: that predicts by it.
      mean_iou: a fraction.
      beyond: how far that is from the reference's.
      ends: of the paired interval of this difference.
      flops: of an image.
      seconds: of an image, the sum of what its scales take; None if no times are measured.
      measured: of an image that is predicted by it in whole; None if that is not measured.
    """

    protocol: Protocol
    mean_iou: float
    beyond: float
    ends: tuple[float, float]
    flops: int
    seconds: float | None = None
    measured: float | None = None


@dataclasses.dataclass(frozen=True)
class ScaleCosts:
    """All subsets of a list of scales that hold scale 1.

    Attributes:
      subsets: those of scale 1 alone and of the reference among them.
      reference: what others are compared with.
      by: which cost counts, one of `BY`.
      budget: the highest cost of a choice, in times that of scale 1 alone; None for any.
      selection: what choosing is worth on other images; None for too few.
    """

    subsets: tuple[Subset, ...]
    reference: Protocol
    by: str
    budget: float | None
    selection: Selection | None = None

    @classmethod
    def of(
        cls,
        confusions: ImageConfusions,
        protocols: Sequence[Protocol],
        *,
        flops: Mapping[Piece, int],
        seconds: Mapping[Piece, float] | None,
        by: str,
        budget: float | None,
    ) -> "ScaleCosts":
        """From what was counted.

        Args:
          confusions: of each image and subset.
          protocols: the subsets, in that order.
          flops: of each piece of an image.
          seconds: of each piece of an image; None if no times are measured.
          by: as above.
          budget: as above.
        """
        reference = PAPER if PAPER in protocols else SINGLE
        totals, resampled = confusions.totals, confusions.resampled

        def subset(protocol: Protocol) -> Subset:
            reached, other = (mean_iou(totals[p.name]) for p in (protocol, reference))
            pieces = pieces_of(protocol)
            beyond = resampled[protocol.name] - resampled[reference.name]
            return Subset(
                protocol,
                reached,
                reached - other,
                bootstrap.interval(beyond),
                sum(flops[piece] for piece in pieces),
                None if seconds is None else sum(seconds[piece] for piece in pieces),
            )

        costs = cls(tuple(map(subset, protocols)), reference, by, budget)
        choices = [i for i, each in enumerate(costs.subsets) if costs.is_within_budget(each)]
        number = protocols.index(reference)
        found = selection.on_other_images(confusions.counts, choices, number)
        return dataclasses.replace(costs, selection=found)

    def with_measured(self, seconds: Mapping[Protocol, float]) -> "ScaleCosts":
        """The same, with what some subsets take in whole, seconds of an image."""
        subsets = tuple(
            dataclasses.replace(each, measured=seconds.get(each.protocol)) for each in self.subsets
        )
        return dataclasses.replace(self, subsets=subsets)

    def of_protocol(self, protocol: Protocol) -> Subset:
        """The subset that a protocol predicts by."""
        return next(each for each in self.subsets if each.protocol == protocol)

    def times_single(self, subset: Subset, by: str) -> float | None:
        """The cost of a subset, in times that of scale 1 alone; None if it is not known."""
        single = self.of_protocol(SINGLE)
        if by == "flops":
            return subset.flops / single.flops
        if subset.measured is not None and single.measured is not None:
            return subset.measured / single.measured
        if subset.seconds is not None and single.seconds is not None:
            return subset.seconds / single.seconds
        return None

    def cost(self, subset: Subset) -> float:
        """The cost that counts, in times that of scale 1 alone."""
        cost = self.times_single(subset, self.by)
        assert cost is not None  # times are measured where they count
        return cost

    def is_within_budget(self, subset: Subset) -> bool:
        """Whether a subset may be chosen."""
        return self.budget is None or self.cost(subset) <= self.budget

    @property
    def front(self) -> list[Subset]:
        """The subsets that reach more than all that cost no more, the cheapest first.

        Where times count and some are measured in whole, it is made of these.
        """
        known = [each for each in self.subsets if each.measured is not None]
        candidates = known if self.by == "seconds" and known else self.subsets
        front: list[Subset] = []
        for each in sorted(candidates, key=lambda each: (self.cost(each), -each.mean_iou)):
            if not front or each.mean_iou > front[-1].mean_iou:
                front.append(each)
        return front

    @property
    def shown(self) -> list[Subset]:
        """The front, the reference and scale 1 alone, the cheapest first."""
        others = (SINGLE, self.reference)
        front = self.front
        more = [self.of_protocol(p) for p in others if p not in [f.protocol for f in front]]
        return sorted([*front, *more], key=self.cost)

    @property
    def choice(self) -> Subset:
        """The best of the front within the budget."""
        return [each for each in self.front if self.is_within_budget(each)][-1]


def to_json(costs: ScaleCosts, how: Mapping[str, Any], **facts: Any) -> str:
    """All subsets, in percent, FLOPs and seconds.

    Args:
      costs: what was found.
      how: what costs depend on, such as the machine.
      **facts: what scores depend on.

    Returns:
      A JSON object: the facts; for each subset what it reaches, how far that is beyond the
      reference, and its costs; and under `costs` the front, the choice and what it is worth.
    """
    subsets = {
        each.protocol.name: {
            "protocol": each.protocol.text,
            "mean_iou": percent(each.mean_iou),
            "beyond": {"mean_iou": percent(each.beyond), "interval": list(map(percent, each.ends))},
            "flops": each.flops,
            "seconds_of_scales": each.seconds,
            "seconds": each.measured,
        }
        for each in costs.subsets
    }
    found = costs.selection
    chosen = {
        **how,
        "by": costs.by,
        "budget": costs.budget,
        "front": [each.protocol.text for each in costs.front],
        "choice": costs.choice.protocol.text,
        "on_halves": found and {name: percent(v) for name, v in vars(found).items()},
    }
    kind = {**facts, "reference": costs.reference.text}
    return json.dumps({**kind, "protocols": subsets, "costs": chosen}, indent=1) + "\n"


def to_table(costs: ScaleCosts, title: str) -> rich.table.Table:
    """A row for each subset of the front, the reference and scale 1 alone."""
    table = rich.table.Table(title=title, title_justify="left")
    for i, name in enumerate(_head(costs)):
        table.add_column(name, justify="left" if i < 2 else "right")
    for row in _rows(costs):
        table.add_row(*row)
    return table


def to_markdown(costs: ScaleCosts, title: str, lines: Iterable[str], picture: str) -> str:
    """The same table, the chart, and sentences on both."""
    head = _head(costs)
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    rows = [f"| {' | '.join(cells)} |" for cells in (head, rule, *_rows(costs))]
    parts = [f"# {title}", f"![Mean IoU by cost]({picture})", "\n".join(rows), *lines]
    return "\n\n".join(parts) + "\n"


def to_svg(costs: ScaleCosts) -> str:
    """Mean IoU by cost: the front with its names, all other subsets as dots."""
    reference = costs.of_protocol(costs.reference)

    def point(each: Subset) -> cost_chart.Point:
        ends = (reference.mean_iou + end for end in each.ends)
        low, high = (100 * end for end in ends)
        return cost_chart.Point(
            each.protocol.name, costs.cost(each), 100 * each.mean_iou, (low, high)
        )

    shown = costs.shown
    return cost_chart.front(
        f"Mean IoU, %, by {BY[costs.by]} in times that of scale 1 alone",
        [point(each) for each in costs.front],
        [point(each) for each in shown if each not in costs.front],
        [point(each) for each in costs.subsets if each not in shown],
        note=f"bars: {bootstrap.PERCENT} % interval of the difference to {costs.reference.name}",
    )


def sentences(costs: ScaleCosts) -> list[str]:
    """What was chosen, and how far that is to be trusted."""
    choice, found = costs.choice, costs.selection
    number = sum(map(costs.is_within_budget, costs.subsets))
    among = (
        f"Of all {number} subsets"
        if costs.budget is None
        else f"Within {costs.budget:g} times the {BY[costs.by]} of scale 1 alone"
    )
    best = (
        f"{among} {choice.protocol.name} is best: {100 * choice.mean_iou:.1f} %"
        f"{_beyond(costs, choice)}, at {costs.cost(choice):.2f} times the {BY[costs.by]}."
        f" --config.evaluate.protocols={choice.protocol.text}"
    )
    if number == 1:
        return [best]
    trust = (
        f"A choice among {number} on the images that score it is optimistic, and the interval does"
        " not know that it was one."
    )
    if found is not None:
        trust += (
            f" Chosen on a half of the images the best is {_points(found.seen)} points beyond"
            f" {costs.reference.name} there, and {_points(found.unseen)} on the other half (means"
            f" over {SPLITS} random halves)."
        )
    return [best, trust]


def _beyond(costs: ScaleCosts, subset: Subset) -> str:
    if subset.protocol == costs.reference:
        return ""
    interval = interval_text(subset.ends, signed=True)
    return f", {_points(subset.beyond)} ({interval}) beyond {costs.reference.name}"


def _head(costs: ScaleCosts) -> list[str]:
    beyond = [f"beyond {costs.reference.name}", f"{bootstrap.PERCENT} % interval"]
    times = ["time, times single", "ms an image"] if costs.subsets[0].seconds is not None else []
    return ["predicted by", "front", "mIoU, %", *beyond, "FLOPs, times single", *times]


def _rows(costs: ScaleCosts) -> list[list[str]]:
    front = costs.front
    return [
        [
            each.protocol.name,
            "yes" if each in front else "",
            f"{100 * each.mean_iou:z.1f}",
            *_difference(costs, each),
            f"{each.flops / costs.of_protocol(SINGLE).flops:.2f}",
            *_times(costs, each),
        ]
        for each in costs.shown
    ]


def _difference(costs: ScaleCosts, subset: Subset) -> tuple[str, str]:
    if subset.protocol == costs.reference:
        return "", ""
    return _points(subset.beyond), interval_text(subset.ends, signed=True)


def _times(costs: ScaleCosts, subset: Subset) -> list[str]:
    relative = costs.times_single(subset, "seconds")
    taken = subset.seconds if subset.measured is None else subset.measured
    return [] if relative is None or taken is None else [f"{relative:.2f}", f"{1000 * taken:.1f}"]


def _points(fraction: float) -> str:
    return f"{100 * fraction:+z.1f}"
