"""What `fields` prints; tests/experiment/test_field_guide.py has what is in it."""

import pytest

from hmsa_jax.commands import fields
from hmsa_jax.experiment import field_guide


def test_a_list_an_explanation_or_the_page_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    fields.run(None)
    assert capsys.readouterr().out.startswith(field_guide.listing(90))
    fields.run("flip")
    assert capsys.readouterr().out == field_guide.explanation(field_guide.find("flip"), 90) + "\n"
    fields.run(None, markdown=True)
    assert capsys.readouterr().out == field_guide.page() + "\n"


def test_a_page_of_some_fields_is_refused():
    with pytest.raises(ValueError, match="leave 'flip' out"):
        fields.run("flip", markdown=True)
