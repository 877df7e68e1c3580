"""Where text for a person appears: the terminal, or the file that takes its place.

Names of classes, files and data sets appear as they are: '[red]' and ':car:' have no meaning here.
"""

import unicodedata
from typing import Any

import rich.console
import rich.text

_FILE_WIDTH = 120  # characters of a line in a log file, which has no width of its own


class _Console(rich.console.Console):
    """A console that takes no markup from a text, be it a line or a cell of a table."""

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal:
            self.width = _FILE_WIDTH

    def render_str(self, text: str, **options: Any) -> rich.text.Text:
        """Writes a character that cannot be shown, or that steers terminals, as an escape."""
        shown = "".join(repr(c)[1:-1] if _steers(c) else c for c in text)
        shown = shown.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(shown, **options)


console = _Console()
stderr = _Console(stderr=True)


def set_quiet(quiet: bool) -> None:
    """Silences this process, or lets it speak again."""
    console.quiet = stderr.quiet = quiet


def _steers(character: str) -> bool:
    """Whether it is a control character; names of files may hold any."""
    return character not in "\n\t" and unicodedata.category(character) == "Cc"
