"""A page: one HTML file that needs neither a network nor a program beside the browser.

A page is sections, and a section is pieces in the order in which they are read. A function makes
each piece, and returns it as `Markup`, which is escaped already:

    page.text        a paragraph
    page.facts       names and values
    page.items       a list, such as one of files
    page.key         classes and their colours
    table.table      a table of figures, with a caption
    table.matrix     a confusion matrix, of one of several choices
    charts.*         curves, bars and shares (hmsa_jax/report/charts.py)
    page.beside      charts side by side, where there is room
    page.folded      what is there to be opened
    gallery.gallery  pictures in cards, filtered and sorted, and one large (gallery.py; the pictures
                     are made by thumbnail.py)

`render` puts them together with page.css and page.js, which all pieces share: light and dark,
phones, paper, keyboards. A page stays whole without JavaScript: everything is there to read, but
for what is filtered, enlarged or chosen. Names of classes, files and runs may hold anything, since
no piece is made of strings by hand.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from hmsa_jax.report import templates
from hmsa_jax.report.pictures import Palette


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
      anchor: by which links name it: ASCII letters and dashes, once a page.
      title: its heading.
      pieces: what it shows, in this order.
    """

    anchor: str
    title: str
    pieces: Sequence[Markup]


def render(title: str, sections: Sequence[Section], *, lead: str = "", foot: str = "") -> str:
    """The text of a page.

    Args:
      title: its heading, and the title of its window.
      sections: its parts.
      lead: a line below the heading.
      foot: a line at the end.
    """
    return str(
        templates.render(
            "page/base.html.jinja",
            title=title,
            lead=lead,
            sections=sections,
            foot=foot,
            style=templates.part("page/page.css"),
            script=templates.part("page/page.js"),
        )
    )


def text(words: str, *, is_warning: bool = False) -> Markup:
    """A paragraph; a warning stands out."""
    return templates.render("page/text.html.jinja", words=words, is_warning=is_warning)


def facts(values: Mapping[str, str], *, code: Iterable[str] = ()) -> Markup:
    """Names and their values.

    Args:
      values: name -> value.
      code: the names of those to be copied, such as a command.
    """
    return templates.render("page/facts.html.jinja", values=values, code=set(code))


def items(lines: Iterable[str]) -> Markup:
    """A list, a line each."""
    return templates.render("page/items.html.jinja", lines=lines)


def key(classes: Sequence[str], palette: Palette) -> Markup:
    """The classes, each beside its colour.

    Args:
      classes: their names.
      palette: RGB of each.
    """
    colours = [
        (name, "rgb({}, {}, {})".format(*colour))
        for name, colour in zip(classes, palette, strict=True)
    ]
    return templates.render("page/key.html.jinja", colours=colours)


def beside(*pieces: Markup) -> Markup:
    """Pieces side by side, where there is room for them."""
    return templates.render("page/beside.html.jinja", pieces=pieces)


def folded(title: str, *pieces: Markup) -> Markup:
    """Pieces below a title that opens them; paper has them open."""
    return templates.render("page/folded.html.jinja", title=title, pieces=pieces)
