"""The pieces of a page that are tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hmsa_jax.report import templates


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
      text: what stands in it.
      is_best: whether it stands out.
    """

    text: str
    is_best: bool = False


def table(
    caption: str,
    head: Sequence[str],
    *groups: Sequence[Sequence[Any]],
    names: int = 1,
) -> Markup:
    """A table; one that is too wide scrolls by itself.

    Args:
      caption: what it shows.
      head: of the columns.
      *groups: of rows, with a line between them. A row is its name and its cells, each a text or a
        `Cell`.
      names: how many columns hold names; the others hold figures, which end at the right.
    """
    cells = [[[row[0], *map(_cell, row[1:])] for row in group] for group in groups]
    return templates.render(
        "page/table.html.jinja", caption=caption, head=head, groups=cells, names=names
    )


def best_of(values: Sequence[float], best: Any = max, digits: int = 1) -> list[Cell]:
    """Cells of figures in percent; the best stand out among others; '-' where there is none."""
    texts = ["-" if np.isnan(value) else f"{value:z.{digits}f}" for value in values]
    known = [float(text) for text in texts if text != "-"]
    mark = best(known) if len({*known}) > 1 else None
    return [Cell(text, text != "-" and float(text) == mark) for text in texts]


def matrix(
    caption: str,
    classes: Sequence[str],
    choices: Mapping[str, np.ndarray],
    choice_title: str = "Protocol",
) -> Markup:
    """A confusion matrix in percent of each label; which one is chosen in the page.

    Args:
      caption: what it shows.
      classes: their names.
      choices: name -> pixels by label (row) and prediction (column), integer `[C, C]`; the first
        is shown first, and is what stays without JavaScript.
      choice_title: what the names are.
    """
    counts = np.asarray(next(iter(choices.values())))
    totals = counts.sum(1)
    parts = 100 * counts / np.maximum(totals, 1)[:, None]
    rows = [
        {
            "name": name,
            "cells": [
                {
                    "text": "-" if not totals[i] else f"{parts[i, j]:.1f}" if counts[i, j] else "",
                    "part": f"{parts[i, j]:.1f}",
                    "count": int(counts[i, j]),
                }
                for j in range(len(classes))
            ],
        }
        for i, name in enumerate(classes)
    ]
    return templates.render(
        "page/matrix.html.jinja",
        caption=caption,
        choice_title=choice_title,
        choices=list(choices),
        classes=classes,
        rows=rows,
        counts=[np.asarray(count).tolist() for count in choices.values()],
    )


def _cell(content: Any) -> Cell:
    return content if isinstance(content, Cell) else Cell(str(content))
