"""The piece of a page that shows images: cards of pictures, filtered and sorted, and one large."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hmsa_jax.report import templates
from hmsa_jax.report.page import page
from hmsa_jax.report.page.thumbnail import Thumbnail
from hmsa_jax.report.pictures import Palette

_FEW = 3  # pictures of cards that stand side by side, where there is room


@dataclasses.dataclass(frozen=True)
class Card:
    """An image and what belongs to it.

    Attributes:
      name: of the image.
      pictures: caption -> picture, the image first.
      by_class: number of each class that the image holds -> a figure of it; None where it has none.
      number: by which the cards are sorted, if it has one.
      about: a few words beside the number.
      group: by which it may be chosen, such as a split.
    """

    name: str
    pictures: Mapping[str, Thumbnail]
    by_class: Mapping[int, float | None]
    number: float | None = None
    about: str = ""
    group: str = ""


def gallery(
    cards: Sequence[Card],
    classes: Sequence[str],
    palette: Palette,
    *,
    figure: str = "",
    number: str = "",
    first: str = "",
    unit: str = " %",
    finds_worst: bool = False,
    group: str = "",
) -> Markup:
    """Cards in a grid; a click or Enter enlarges a picture.

    Args:
      cards: in the order in which they are shown first.
      classes: their names.
      palette: RGB of each class.
      figure: what the figures of the classes are, such as 'IoU'; '' for cards that are not sorted.
      number: what the numbers of the cards are; '' for the mean of the figures.
      first: what the order is in which they are shown first; '' if `number` sorts them, lowest
        first.
      unit: what follows a number.
      finds_worst: whether one may ask for the images in which a class has the lowest number.
      group: what the groups of the cards are, such as 'Split'; '' for cards of no groups.
    """
    number = number or f"mean {figure}"
    orders = [
        *([{"value": "given 0", "text": first}] if first else []),
        {"value": "all 1", "text": f"{number}, lowest first"},
        {"value": "all -1", "text": f"{number}, highest first"},
        {"value": "class 1", "text": f"{figure} of the class, lowest first"},
        {"value": "class -1", "text": f"{figure} of the class, highest first"},
    ]
    return templates.render(
        "page/gallery.html.jinja",
        classes=classes,
        key=page.key(classes, palette),
        orders=orders if figure else [],
        has_worst=finds_worst,
        group_title=group,
        groups=list(dict.fromkeys(card.group for card in cards)),
        unit=unit,
        is_narrow=all(len(card.pictures) <= _FEW for card in cards),
        cards=[_shown(card, number, unit) for card in cards],
    )


def _shown(card: Card, number: str, unit: str) -> dict[str, Any]:
    """What the template reads of a card."""
    return {
        "name": card.name,
        "number": card.number,
        "number_text": "" if card.number is None else f"{number} {card.number:.1f}{unit}",
        "about": card.about,
        "group": card.group,
        "by_class": {str(name): value for name, value in card.by_class.items()},
        "pictures": [
            {"caption": caption, **dataclasses.asdict(picture)}
            for caption, picture in card.pictures.items()
        ],
    }
