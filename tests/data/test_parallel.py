"""Work under a progress bar."""

import pytest

from data import parallel
from hmsa_jax.runtime.console import set_quiet


@pytest.mark.parametrize("name", ["folder train[:10%]", "[red]{x}"])
def test_the_bar_shows_names_as_they_are(capsys, name):
    assert list(parallel.track(iter("ab"), 2, name)) == ["a", "b"]
    assert f"{name}:" in capsys.readouterr().err


def test_other_hosts_show_no_bar(capsys):
    set_quiet(True)
    try:
        assert list(parallel.track(iter("ab"), 2, "Reading")) == ["a", "b"]
    finally:
        set_quiet(False)
    assert capsys.readouterr().err == ""
