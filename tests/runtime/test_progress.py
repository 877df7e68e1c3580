"""The progress bar, on a terminal and in a file."""

import io

import pytest
import rich.console

from hmsa_jax.runtime import progress
from hmsa_jax.runtime.console import set_quiet
from hmsa_jax.runtime.progress import Progress, track


@pytest.mark.parametrize("name", ["folder train[:10%]", "[red]{x}"])
def test_the_bar_shows_names_as_they_are(capsys, name):
    assert list(track(iter("ab"), 2, name)) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{name} 2/2" in shown.err


def test_other_hosts_show_no_bar(capsys):
    set_quiet(True)
    try:
        assert list(track(iter("ab"), 2, "Reading")) == ["a", "b"]
    finally:
        set_quiet(False)
    assert capsys.readouterr().err == ""


def test_a_file_has_a_line_now_and_then(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("evaluate", 200) as bar:
        times = []
        for now in range(200):
            bar.advance()
            if out := capsys.readouterr().out:
                assert out.startswith(f"evaluate {now + 1}/200 ")
                times.append(now)
    assert times == [11, 32, 73, 134, 195]  # after 10, 20, 40 and 60 seconds of silence


def test_a_terminal_has_one_bar_with_the_latest_figures():
    file = io.StringIO()
    terminal = rich.console.Console(file=file, force_terminal=True, width=120, color_system=None)
    with Progress("train [1]", 4, completed=1, to=terminal) as bar:
        bar.show("loss 2.0")
        bar.advance(3)
    last = [line for line in file.getvalue().splitlines() if "train" in line][-1]
    assert last.count("train [1]") == 1
    assert "4/4" in last
    assert "loss 2.0" in last
