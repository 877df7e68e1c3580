"""What steps take on their targets: a table for the terminal, and the same as markdown."""

from collections.abc import Mapping
from typing import Any

import rich.box
import rich.table
import rich.text

from hmsa_jax.performance.chips import GIB

_COLUMNS = (
    "target",
    "step",
    "images",
    "fits",
    "peak / limit",
    "arguments",
    "temporaries",
    "useful work, all (a device)",
    "time",
    "MFU",
    "collectives",
    "compiled in",
)
_CONSOLE_COLUMNS = (
    "fits",
    "memory",
    "argu-\nments",
    "tempo-\nraries",
    "of\nlimit",
    "useful\nwork",
    "time",
    "MFU",
    "collec-\ntives",
    "compile",
)
_FITS = {"fits": "yes", "does not fit": "no", "failed": "failed"}
_STYLES = {"fits": "", "does not fit": "yellow", "failed": "red"}
_TEXT_COLUMNS = ("target", "step", "fits", "time", "collectives")


def verdict(row: dict) -> str:
    """A row in one line."""
    if row["status"] == "failed":
        return f"failed: {row['message']}"
    phrases = [row["status"]]
    if "memory" in row:
        phrases.append(f"{peak_and_limit(row)} on a device")
    if "time" in row:
        phrases.append(_time(row))
    if "compile_seconds" in row:
        phrases.append(f"compiled in {row['compile_seconds']:.0f} s")
    return ", ".join(phrases)


def to_table(rows: list[dict]) -> rich.table.Table:
    """A table of the figures of one device, with a line for each row; errors stand below it."""
    table = rich.table.Table(
        title="Figures of one device", title_justify="left", box=rich.box.SIMPLE_HEAD, padding=0
    )
    for name in ("target", "step"):
        table.add_column(name, no_wrap=True)
    for name in _CONSOLE_COLUMNS:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["target"], row["step"], *_console_cells(row), style=_STYLES[row["status"]]
        )
    notes = _notes(rows)
    table.caption = rich.text.Text("\n".join(notes)) if notes else None
    table.caption_justify = "left"
    return table


def _console_cells(row: dict) -> list[str]:
    memory, time = row.get("memory", {}), row.get("time")
    used = memory["peak"] / memory["limit"] if memory else 0
    work = row["useful_flops"] / row["devices"] if "devices" in row else 0
    traffic = sum(t["count"] for t in row.get("collectives", {}).values())
    return [
        _FITS[row["status"]],
        *(_bytes(memory[n]) if n in memory else "-" for n in ("peak", "arguments", "temporaries")),
        f"{used:.1%}" if memory else "-",
        _flops(work) if work else "-",
        f"{_seconds(time['median'])}\n{time['kind']}" if time else "-",
        f"{row['mfu']:.1%}" if "mfu" in row else "-",
        str(traffic) if "collectives" in row else "-",
        f"{row['compile_seconds']:.0f} s" if "compile_seconds" in row else "-",
    ]


def to_markdown(facts: dict, rows: list[dict]) -> str:
    """The table, the command that made it and the machine.

    Args:
      facts: `command`, `machine`, `jax`.
      rows: as `experiment.compile_report` returns them.
    """
    lines = ["# The steps on their targets", ""]
    if facts["command"]:
        lines += ["```bash", facts["command"], "```", ""]
    compilers = sorted({row["compiler"] for row in rows if row.get("compiler")})
    versions = ", ".join([f"jax {facts['jax']}", *compilers])
    lines += [
        f"Compiled on {facts['machine']}, with {versions}{_effort(facts)}.",
        "",
        "Memory is that of one device; peak = arguments + temporaries + outputs - what reuses the"
        " memory of arguments. Useful work is that of convolutions and matrix products, two"
        " operations for each product, nothing recomputed. A modelled time is what the TPU's"
        " compiler expects, without communication; a measured one is a median with quartiles. MFU"
        " is useful work a second over the published bfloat16 peak of the chip. Bytes of"
        " collectives are those of their results on one device. What libraries need besides on a"
        " GPU is not counted.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|" + "|".join("---" if c in _TEXT_COLUMNS else "---:" for c in _COLUMNS) + "|",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    notes = _notes(rows)
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join([*lines, "", "![Memory of each step](backends.svg)", ""])


def _cells(row: dict) -> list[str]:
    memory = row.get("memory", {})
    return [
        row["target"],
        row["step"],
        str(row.get("images", "-")),
        _FITS[row["status"]],
        peak_and_limit(row) if memory else "-",
        *(_bytes(memory[name]) if name in memory else "-" for name in ("arguments", "temporaries")),
        _work(row),
        _time(row) if "time" in row else "-",
        f"{row['mfu']:.1%}" if "mfu" in row else "-",
        _collectives(row),
        f"{row['compile_seconds']:.0f} s" if "compile_seconds" in row else "-",
    ]


def _notes(rows: list[dict]) -> list[str]:
    return [f"{row['target']} {row['step']}: {row['message']}" for row in rows if row["message"]]


def peak_and_limit(row: Mapping[str, Any]) -> str:
    """The memory that a row's program takes and that there is, like '5.1 GiB / 15.75 GiB'."""
    return f"{_bytes(row['memory']['peak'])} / {_bytes(row['memory']['limit'])}"


def _work(row: dict) -> str:
    if "useful_flops" not in row:
        return "-"
    return f"{_flops(row['useful_flops'])} ({_flops(row['useful_flops'] / row['devices'])})"


def _time(row: dict) -> str:
    figures = row["time"]
    if figures["kind"] == "modelled":
        return f"{_seconds(figures['median'])} modelled"
    spread = f"{_seconds(figures['lower_quartile'])} to {_seconds(figures['upper_quartile'])}"
    return f"{_seconds(figures['median'])} measured ({spread}, {figures['runs']} runs)"


def _collectives(row: dict) -> str:
    if "collectives" not in row:
        return "-"
    texts = [f"{t['count']} {kind}, {_bytes(t['bytes'])}" for kind, t in row["collectives"].items()]
    return "; ".join(texts) or "none"


def _bytes(size: float) -> str:
    for unit, factor in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(size) >= factor:
            return f"{size / factor:.4g} {unit}"
    return f"{size:.0f} B"


def _flops(count: float) -> str:
    for unit, factor in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} FLOP"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _effort(facts: dict) -> str:
    return ", for TPUs with little optimisation (`--quick`)" if facts.get("quick") else ""
