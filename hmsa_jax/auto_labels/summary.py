"""What auto-labelling kept, and what it costs to store."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import rich.table

from hmsa_jax.auto_labels.labelled_images import Labelled

_SOFT_BYTES = 4  # of a probability, float32
_PAPER_IMAGES, _PAPER_PIXELS, _PAPER_CLASSES = 20_000, 2048 * 1024, 19  # section 4


def summarize(
    labelled: Iterable[Labelled], classes: Sequence[str], least: Sequence[int] | None = None
) -> dict:
    """Adds up what is on record of all images.

    Args:
      labelled: a record an image.
      classes: names of the classes.
      least: of each class 255 times the probability from which labels were kept, if it had one.

    Returns:
      A dict for JSON: images, pixels, for each class the pixels predicted and kept and the images
      that show it, and bytes as stored, as soft labels of the same images, and both for as many
      images as the paper's (section 4: 20000 images of 2048 x 1024, 19 classes, float32).
    """
    labelled = list(labelled)
    predicted = np.array([one.predicted for one in labelled]).reshape(-1, len(classes))
    kept = np.array([one.kept for one in labelled]).reshape(-1, len(classes))
    pixels = sum(one.rows * one.columns for one in labelled)
    stored = sum(one.bytes for one in labelled)
    paper_pixels = _PAPER_IMAGES * _PAPER_PIXELS
    return {
        "images": len(labelled),
        "pixels": pixels,
        "share_kept": _share(kept.sum(), pixels),
        "classes": {
            name: {
                "predicted": int(predicted[:, number].sum()),
                "kept": int(kept[:, number].sum()),
                "share_kept": _share(kept[:, number].sum(), predicted[:, number].sum()),
                "images": int((kept[:, number] > 0).sum()),
                **({} if least is None else {"least_probability": round(least[number] / 255, 3)}),
            }
            for number, name in enumerate(classes)
        },
        "bytes": {
            "stored": stored,
            "soft": pixels * len(classes) * _SOFT_BYTES,
            "stored_for_the_paper": round(stored / pixels * paper_pixels) if pixels else None,
            "soft_for_the_paper": paper_pixels * _PAPER_CLASSES * _SOFT_BYTES,
        },
    }


def to_json(summary: dict) -> str:
    """The summary as a file holds it."""
    return json.dumps(summary, indent=2) + "\n"


def to_table(summary: dict) -> rich.table.Table:
    """A row a class: its share of the kept pixels, how much of it was kept, images that show it."""
    table = rich.table.Table()
    table.add_column("class")
    headings = ["share of kept pixels, %", "kept of predicted, %", "images"]
    least = {name: figures.get("least_probability") for name, figures in summary["classes"].items()}
    if has_least := None not in least.values():
        headings.append("kept from a probability of")
    for heading in headings:
        table.add_column(heading, justify="right")
    total = sum(figures["kept"] for figures in summary["classes"].values())
    for name, figures in summary["classes"].items():
        table.add_row(
            name,
            _percent(_share(figures["kept"], total)),
            _percent(figures["share_kept"]),
            str(figures["images"]),
            *([f"{least[name]:.3f}"] if has_least else []),
        )
    table.add_section()
    table.add_row("all", "", _percent(summary["share_kept"]), str(summary["images"]))
    return table


def describe_bytes(summary: dict) -> str:
    """What the labels take on disk, beside soft labels."""
    sizes = {name: _size(count) for name, count in summary["bytes"].items()}
    return (
        f"Masks and probabilities take {sizes['stored']}; soft labels of these images would take"
        f" {sizes['soft']}. For the paper's 20000 images of 2048 x 1024 pixels and 19 classes that"
        f" is {sizes['stored_for_the_paper']} against {sizes['soft_for_the_paper']}."
    )


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _size(count: int) -> str:
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"
