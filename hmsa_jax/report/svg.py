"""Figures as SVG, from templates that lie beside this file."""

import pathlib
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """The text of an SVG file; names of classes and runs appear in it as they are.

    Args:
      template: name of its file.
      **values: all that it reads.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(values)
