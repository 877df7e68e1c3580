"""Files that are whole or absent."""

import os
import pathlib


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes `text` beside `path` and renames it there: a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
