"""Where a step's time, traffic and operations go: markdown tables, by kind and by layer."""

from collections.abc import Mapping, Sequence
from typing import Any

from hmsa_jax.performance import breakdown, chips
from hmsa_jax.performance.breakdown import Place, Work

_EXPLANATION = """\
Of one device. A fused instruction counts where its convolution or matrix product belongs, or else
its result. *Backward* is what the gradient needs, computing again what was not kept included.
Traffic is every operand and every result of an instruction once, from and to the memory of the
device; *at full bandwidth* and *at peak* are the milliseconds that the published figures of the
chip leave for traffic and operations, the longer of which is a limit for this program. Operations
are those of convolutions and matrix products, those with padding left out."""
_TITLES = {"kind": "By kind", "layer": "By layer"}
_UNNAMED = "(elsewhere)"


def to_rows(places: Mapping[Place, Work], seconds: float | None) -> list[dict[str, Any]]:
    """What `backends.json` keeps of a program.

    Args:
      places: from `breakdown.of_program`.
      seconds: that the whole program takes by the compiler's model; None where it has none.
    """
    cycles = sum(work.cycles for work in places.values())
    return [
        {
            "layer": place.layer,
            "kind": place.kind,
            "backward": place.is_backward,
            "seconds": seconds * work.cycles / cycles if seconds and cycles else None,
            "bytes": work.bytes,
            "flops": work.flops,
            "instructions": work.count,
        }
        for place, work in places.items()
    ]


def to_markdown(row: Mapping[str, Any]) -> str:
    """The tables of a row of `backends.json` that has a `breakdown`."""
    chip = chips.of_kind(row["device"])
    lines = [f"## {row['target']}, {row['step']}", "", _EXPLANATION]
    for by, title in _TITLES.items():
        lines += ["", f"### {title}", "", *_table(row["breakdown"], by, chip)]
    return "\n".join([*lines, ""])


def _table(parts: Sequence[Mapping[str, Any]], by: str, chip: chips.Chip | None) -> list[str]:
    has_time = all(part["seconds"] is not None for part in parts)
    names = _sorted_names(parts, by, "seconds" if has_time else "bytes")
    of_time = ["forward, ms", "backward, ms", "share"] if has_time else []
    of_chip = ["at full bandwidth, ms", "at peak, ms"] if chip else []
    header = [by, *of_time, "traffic, MB", "GFLOP", *of_chip, "instructions"]
    lines = [f"| {' | '.join(header)} |", "|---" + "|---:" * (len(header) - 1) + "|"]
    every = sum(part["seconds"] or 0 for part in parts)
    for name in [*names, None]:
        own = [p for p in parts if name is None or _name(p, by) == name]
        cells = ["**all**" if name is None else name or _UNNAMED]
        if has_time:
            forward, backward = (
                sum(p["seconds"] for p in own if p["backward"] == is_backward)
                for is_backward in (False, True)
            )
            share = (forward + backward) / every
            cells += [f"{1000 * forward:.2f}", f"{1000 * backward:.2f}", f"{share:.1%}"]
        size, flops = (sum(p[key] for p in own) for key in ("bytes", "flops"))
        cells += [f"{size / 1e6:.1f}", f"{flops / 1e9:.2f}"]
        if chip:
            cells += [f"{1000 * size / chip.bandwidth:.2f}", f"{1000 * flops / chip.peak:.2f}"]
        cells.append(str(sum(p["instructions"] for p in own)))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _sorted_names(parts: Sequence[Mapping[str, Any]], by: str, key: str) -> list[str]:
    names = dict.fromkeys(_name(part, by) for part in parts)
    return sorted(names, key=lambda name: -sum(p[key] for p in parts if _name(p, by) == name))


def _name(part: Mapping[str, Any], by: str) -> str:
    return breakdown.shortened(part["layer"]) if by == "layer" else part["kind"]
