"""The page of a data set: which sections it has, and what they say."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from hmsa_jax.report import charts
from hmsa_jax.report.checked_data import CheckedData, Statistics
from hmsa_jax.report.oddities import Oddity
from hmsa_jax.report.page import gallery, page, table
from hmsa_jax.report.page.gallery import Card

_OPEN, _LISTED = 8, 500  # lines of a list that is not folded, and that are shown at all
_SIZES = 5  # of each kind


def render(
    data: CheckedData,
    oddities: Sequence[Oddity],
    *,
    cards: Sequence[Card],
    remark: str,
    foot: str,
) -> str:
    """The text of the page.

    Args:
      data: what was found.
      oddities: what is odd in it.
      cards: the images that are shown.
      remark: which images these are, or why there are none.
      foot: who made the page.
    """
    sections = [
        page.Section("data", "What it holds", _holds(data)),
        page.Section("odd", "What is wrong or odd", [*_wrong(data), *_odd(oddities)]),
        page.Section("classes", "Classes", _classes(data)),
        page.Section("sizes", "Sizes", _sizes(data.splits)),
        page.Section("images", "Images", _images(data, cards, remark)),
    ]
    count = sum(split.images for split in data.splits.values())
    lead = f"A data set of {count} images in {len(data.splits)} splits: {', '.join(data.splits)}"
    return page.render(data.name, [s for s in sections if s.pieces], lead=lead, foot=foot)


def _holds(data: CheckedData) -> list[Markup]:
    spec = data.label_spec
    rows = [
        [name, split.images, split.labels, split.pixels.sum() + split.ignored, _ignored(split)]
        for name, split in data.splits.items()
    ]
    head = ["split", "images", "labels", "pixels of labels", "ignored, %"]
    known = {
        "directory": data.directory,
        "classes": str(len(spec.names)),
        "labels may hold": spec.describe_values(),
    }
    return [
        page.facts(known),
        page.key(spec.names, spec.palette),
        table.table("What each split holds", head, rows),
    ]


def _ignored(split: Statistics) -> str:
    """The percent of the pixels that are ignored."""
    total = split.pixels.sum() + split.ignored
    return f"{100 * split.ignored / total:.3f}" if total else "-"


def _wrong(data: CheckedData) -> list[Markup]:
    """All that the command lists, what is wrong first."""
    pieces = [page.text(line, is_warning=True) for line in data.unteaching]
    for is_remark in (False, True):
        for heading, found, remedy in data.problems.listed(remarks=is_remark):
            pieces.append(page.text(f"{heading}. {remedy}", is_warning=not is_remark))
            pieces.append(_list(heading, found))
    pieces += [page.text(line) for line in data.absent]
    if data.is_fine:
        pieces.insert(0, page.text("Nothing is wrong."))
    return pieces


def _odd(oddities: Sequence[Oddity]) -> list[Markup]:
    """What is odd, by its rule; faults are listed with the files."""
    oddities = [oddity for oddity in oddities if oddity.rule]
    if not oddities:
        return [page.text("No image is odd by size, classes, ignored pixels or light.")]
    rows = [[oddity.what, oddity.rule, len(oddity.images)] for oddity in oddities]
    lists = [
        _list(
            f"{len(oddity.images)} {oddity.what}",
            [f"{image.split}: {image.name}" for image in oddity.images],
            is_folded=True,
        )
        for oddity in oddities
    ]
    head = ["what", "by which rule", "images"]
    return [table.table("Images that are odd", head, rows, names=2), *lists]


def _list(title: str, lines: Sequence[str], *, is_folded: bool = False) -> Markup:
    """A list of files or images, folded below a title where it is long."""
    shown = [*lines[:_LISTED]]
    if len(lines) > _LISTED:
        shown.append(f"and {len(lines) - _LISTED} more")
    listed = page.items(shown)
    return page.folded(title, listed) if is_folded or len(shown) > _OPEN else listed


def _classes(data: CheckedData) -> list[Markup]:
    splits = {name: split for name, split in data.splits.items() if split.labels}
    if not splits:
        return [page.text("No split has labels.")]
    pixels = [
        100 * np.append(s.pixels, s.ignored) / (s.pixels.sum() + s.ignored) for s in splits.values()
    ]
    images = [100 * s.images_with / s.labels for s in splits.values()]
    names = data.label_spec.names
    charts_of = {
        "Pixels of each class, % of all pixels": pixels,
        "Images that hold each class, % of those with a label": images,
    }
    drawn = [
        charts.bars(
            title,
            list(splits),
            [charts.Row(name, [of[i] for of in values]) for i, name in enumerate(names)],
        )
        for title, values in charts_of.items()
    ]
    return [page.beside(*drawn), _class_table(names, splits, pixels)]


def _class_table(
    names: Sequence[str], splits: Mapping[str, Statistics], pixels: Sequence[np.ndarray]
) -> Markup:
    """A row a class, and one of what is ignored; `pixels` are percent, `[classes + 1]` a split."""
    head, columns = ["class"], []
    for (name, split), percents in zip(splits.items(), pixels, strict=True):
        head += [f"{name}, % of pixels", f"{name}, images"]
        columns += [[f"{percent:.3f}" for percent in percents], [*split.images_with, ""]]
    *rows, ignored = zip([*names, "ignored"], *columns, strict=True)
    return table.table("Classes by split", head, rows, [ignored])


def _sizes(splits: Mapping[str, Statistics]) -> list[Markup]:
    """The most frequent sizes, the smallest and the largest, with the images that have them."""
    total: collections.Counter[tuple[int, int]] = collections.Counter()
    for split in splits.values():
        total += split.sizes
    if not total:
        return []
    by_area = sorted(total, key=lambda size: (size[0] * size[1], size))
    frequent = [size for size, _ in total.most_common(_SIZES)]
    kinds = {"most frequent": frequent}
    if len(total) > _SIZES:
        kinds |= {"smallest": by_area[:_SIZES], "largest": by_area[: -_SIZES - 1 : -1]}
    groups = [
        [
            ["{} x {}".format(*size), kind, *(split.sizes[size] for split in splits.values())]
            for size in sizes
        ]
        for kind, sizes in kinds.items()
    ]
    head = ["width x height", "which", *(f"{name}, images" for name in splits)]
    words = f"The images have {len(total)} different sizes."
    if len(total) == 1:
        words = "All images have one size."
    return [page.text(words), table.table("Sizes of images", head, *groups, names=2)]


def _images(data: CheckedData, cards: Sequence[Card], remark: str) -> list[Markup]:
    if not cards:
        return [page.text(remark, is_warning=True)]
    return [
        page.text(f"{remark} In labels and overlays, what is ignored is dark."),
        gallery.gallery(
            cards,
            data.label_spec.names,
            data.label_spec.palette,
            figure="share",
            number="ignored",
            first="odd ones first",
            group="Split",
        ),
    ]
