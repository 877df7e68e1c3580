"""Pages and figures from the templates of this room; whatever is put into them is escaped."""

import functools
import pathlib
from typing import Any

import jinja2
from markupsafe import Markup

_ROOM = pathlib.Path(__file__).parent


def render(template: str, /, *, room: pathlib.Path = _ROOM, **values: Any) -> Markup:
    """The text of a page, a figure, or a piece of these.

    Args:
      template: path of its file in the room.
      room: directory of templates.
      **values: all that it reads. A text appears in it as it is; what a template has made is taken
        for what it is.

    Returns:
      A string that other templates take over without escaping it again.
    """
    return Markup(_environment(room).get_template(template).render(values))


def part(file: str, room: pathlib.Path = _ROOM) -> Markup:
    """The text of a file of a room that goes into pages as it is, such as a style sheet."""
    return Markup((room / file).read_text())


@functools.cache
def _environment(room: pathlib.Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(room),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
