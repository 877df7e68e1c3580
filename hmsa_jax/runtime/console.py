"""Where text for a person appears: the terminal, or the file that stands for it.

Names of classes, files and data sets are shown as they are: '[red]' and ':car:' mean nothing here.
"""

import unicodedata

import rich.console
import rich.text

_PLAIN_WIDTH = 120  # of a log file, where no terminal says how wide it is


class _Console(rich.console.Console):
    """A console whose text, be it a line or a cell of a table, is text alone."""

    def __init__(self, **options):
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal:
            self.width = _PLAIN_WIDTH

    def render_str(self, text: str, **options) -> rich.text.Text:
        """Takes all strings; what cannot be shown, or steers terminals, is written as an escape."""
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
