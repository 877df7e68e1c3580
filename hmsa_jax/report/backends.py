"""What steps take on their targets: a table, the same as markdown, and a picture of memory."""

import pathlib

import rich.box
import rich.table
import rich.text
from PIL import Image, ImageDraw, ImageFont

from hmsa_jax.performance.chips import GIB
from hmsa_jax.runtime.files import atomic_path

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

# The picture, in pixels of a screen that shows it at half its size.
_WIDTH, _LINE, _BAR, _MARGIN = 1600, 64, 34, 48
_LEFT, _RIGHT = 330, 330  # of the labels and of the figures beside the bars
_INK, _PALE, _GRID = (38, 44, 56), (110, 118, 132), (226, 230, 236)
_COLOURS = {
    "arguments": (46, 92, 148),
    "temporaries": (104, 164, 214),
    "outputs": (176, 205, 170),
    "too much": (206, 92, 82),
}


def verdict(row: dict) -> str:
    """One line on a row."""
    if row["status"] == "failed":
        return f"failed: {row['message']}"
    parts = [row["status"]]
    if "memory" in row:
        parts.append(f"{_peak_and_limit(row)} on a device")
    if "time" in row:
        parts.append(_time(row))
    if "compile_seconds" in row:
        parts.append(f"compiled in {row['compile_seconds']:.0f} s")
    return ", ".join(parts)


def to_table(rows: list[dict]) -> rich.table.Table:
    """A line for each row, with the figures of one device, and below it what went wrong."""
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
    share = memory["peak"] / memory["limit"] if memory else 0
    work = row["useful_flops"] / row["devices"] if "devices" in row else 0
    traffic = sum(t["count"] for t in row.get("collectives", {}).values())
    return [
        _FITS[row["status"]],
        *(_bytes(memory[n]) if n in memory else "-" for n in ("peak", "arguments", "temporaries")),
        f"{share:.1%}" if memory else "-",
        _flops(work) if work else "-",
        f"{_seconds(time['median'])}\n{time['kind']}" if time else "-",
        f"{row['mfu']:.1%}" if "mfu" in row else "-",
        str(traffic) if "collectives" in row else "-",
        f"{row['compile_seconds']:.0f} s" if "compile_seconds" in row else "-",
    ]


def to_markdown(facts: dict, rows: list[dict]) -> str:
    """The table with what made it.

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
    return "\n".join([*lines, "", "![Memory of each step](backends.png)", ""])


def draw(rows: list[dict], path: pathlib.Path) -> None:
    """Draws the memory of each row against the limit of its device, as a PNG."""
    rows = [row for row in rows if "memory" in row]
    height = 3 * _MARGIN + _LINE * (len(rows) + 1)
    image = Image.new("RGB", (_WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    _write(pen, _MARGIN, _MARGIN, "Memory on one device, as a share of its limit", _INK, 34)
    top = 2 * _MARGIN + 20
    left, right = _LEFT, _WIDTH - _RIGHT
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = left + share * (right - left)
        pen.line((x, top, x, height - 2 * _MARGIN), _GRID if share < 1 else _PALE, 2)
        _write(pen, x, height - 2 * _MARGIN + 16, f"{share:.0%}", _PALE, 22, "mm")
    for i, row in enumerate(rows):
        _draw_row(pen, row, top + _LINE * i + _LINE // 2, left, right)
    _draw_legend(pen, height - _MARGIN)
    with atomic_path(path) as partial:
        image.save(partial, "PNG")


def _draw_row(pen, row, middle, left, right) -> None:
    memory = row["memory"]
    limit = memory["limit"]
    _write(pen, left - 20, middle, f"{row['target']}  {row['step']}", _INK, 26, "rm")
    box = (middle - _BAR // 2, middle + _BAR // 2)
    if row["status"] != "fits" or memory["peak"] > limit:
        pen.rectangle((left, box[0], right + 24, box[1]), _COLOURS["too much"])
    else:
        kept = memory["peak"] - memory["arguments"] - memory["temporaries"]
        parts = {"arguments": memory["arguments"], "temporaries": memory["temporaries"]}
        x = float(left)
        for name, size in (parts | {"outputs": kept}).items():
            end = x + (right - left) * size / limit
            if end - x >= 1:
                pen.rectangle((x, box[0], end, box[1]), _COLOURS[name])
            x = end
    _write(pen, right + 40, middle, _peak_and_limit(row), _INK, 26, "lm")


def _draw_legend(pen, y) -> None:
    x = _LEFT
    names = {"outputs": "outputs in memory of their own", "too much": "does not fit"}
    for name, colour in _COLOURS.items():
        pen.rectangle((x, y - 11, x + 22, y + 11), colour)
        text = names.get(name, name)
        _write(pen, x + 34, y, text, _INK, 22, "lm")
        x += 34 + int(pen.textlength(text, _font(22))) + 40


def _write(pen, x, y, text, colour, size, anchor="lm") -> None:
    pen.text((x, y), text, colour, _font(size), anchor)


def _font(size: int):
    return ImageFont.load_default(size)


def _cells(row: dict) -> list[str]:
    memory = row.get("memory", {})
    return [
        row["target"],
        row["step"],
        str(row.get("images", "-")),
        _FITS[row["status"]],
        _peak_and_limit(row) if memory else "-",
        *(_bytes(memory[name]) if name in memory else "-" for name in ("arguments", "temporaries")),
        _work(row),
        _time(row) if "time" in row else "-",
        f"{row['mfu']:.1%}" if "mfu" in row else "-",
        _collectives(row),
        f"{row['compile_seconds']:.0f} s" if "compile_seconds" in row else "-",
    ]


def _notes(rows: list[dict]) -> list[str]:
    return [f"{row['target']} {row['step']}: {row['message']}" for row in rows if row["message"]]


def _peak_and_limit(row: dict) -> str:
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
