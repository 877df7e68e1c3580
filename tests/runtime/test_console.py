"""Text that is not ours, on the console."""

import io

import pytest
import rich.table

from hmsa_jax.runtime.console import console
from hmsa_jax.runtime.progress import tell

NAMES = ["[red]", "a [/b] c", "[", "]", "\\[x]", "<b>", "\"'", ":car:", "{0}", "%s", "é道"]


def _capture(show) -> str:
    with console.capture() as capture:
        show()
    return capture.get()


def test_lines_show_names_as_they_are():
    assert _capture(lambda: tell(" ".join(NAMES), style="red")) == " ".join(NAMES) + "\n"


def test_tables_show_names_as_they_are():
    table = rich.table.Table(*NAMES, title="title [b]", box=None, padding=(0, 1))
    table.add_row(*NAMES)
    title, *rows = _capture(lambda: console.print(table)).splitlines()
    assert title.strip() == "title [b]"
    assert [" ".join(row.split()) for row in rows] == [" ".join(NAMES)] * 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31mred", "\\x1b[31mred"), ("a\rb", "a\\rb"), ("\udcff", "\\udcff"), ("a\nb", "a\nb")],
)
def test_what_steers_a_terminal_is_an_escape(text, shown):
    assert _capture(lambda: tell(text)) == shown + "\n"


def test_what_the_encoding_lacks_is_an_escape(monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", file)
    tell("Straße")
    file.flush()
    assert file.buffer.getvalue() == b"Stra\\xdfe\n"


def test_a_line_is_not_wrapped():
    assert _capture(lambda: tell("word " * 100)).count("\n") == 1
