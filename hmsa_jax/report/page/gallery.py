"""The piece of a page that shows images: cards of pictures, filtered and sorted, and one large."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hmsa_jax.report import templates
from hmsa_jax.report.page.thumbnail import Thumbnail
from hmsa_jax.report.pictures import Palette


@dataclasses.dataclass(frozen=True)
class Card:
    """An image and what belongs to it.

    Attributes:
      name: of the image.
      pictures: caption -> picture, the image first.
      by_class: number of each class that the image holds -> a figure of it; None where it has none.
      number: by which the cards are sorted, if it has one.
      about: a few words beside the number.
    """

    name: str
    pictures: Mapping[str, Thumbnail]
    by_class: Mapping[int, float | None]
    number: float | None = None
    about: str = ""


def gallery(
    cards: Sequence[Card],
    classes: Sequence[str],
    palette: Palette,
    *,
    figure: str = "",
    unit: str = " %",
    finds_worst: bool = False,
) -> Markup:
    """Cards in a grid; a click or Enter enlarges a picture.

    Args:
      cards: in the order in which they are shown first.
      classes: their names.
      palette: RGB of each class.
      figure: what the numbers of the cards and classes are, such as 'IoU'; '' for cards that are
        not sorted.
      unit: what follows a number.
      finds_worst: whether one may ask for the images in which a class has the lowest number.
    """
    orders = [
        {"value": "all 1", "text": f"mean {figure}, lowest first"},
        {"value": "all -1", "text": f"mean {figure}, highest first"},
        {"value": "class 1", "text": f"{figure} of the class, lowest first"},
        {"value": "class -1", "text": f"{figure} of the class, highest first"},
    ]
    return templates.render(
        "page/gallery.html.jinja",
        classes=classes,
        palette=[
            (name, "rgb({}, {}, {})".format(*colour))
            for name, colour in zip(classes, palette, strict=True)
        ],
        orders=orders if figure else [],
        has_worst=finds_worst,
        unit=unit,
        cards=[_shown(card, figure, unit) for card in cards],
    )


def _shown(card: Card, figure: str, unit: str) -> dict[str, Any]:
    """What the template reads of a card."""
    number = "" if card.number is None else f"mean {figure} {card.number:.1f}{unit}"
    return {
        "name": card.name,
        "number": card.number,
        "number_text": number,
        "about": card.about,
        "by_class": {str(name): value for name, value in card.by_class.items()},
        "pictures": [
            {"caption": caption, **dataclasses.asdict(picture)}
            for caption, picture in card.pictures.items()
        ],
    }
