"""What `fields` prints; tests/experiment/test_field_guide.py has what is in it."""

import main
from hmsa_jax.config import field_guide


def test_a_list_an_explanation_or_the_page_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    main.main(["fields"])
    assert capsys.readouterr().out.startswith(field_guide.listing(90))
    main.main(["fields", "flip"])
    assert capsys.readouterr().out == field_guide.explanation(field_guide.find("flip"), 90) + "\n"
    main.main(["fields", "--markdown"])
    assert capsys.readouterr().out == field_guide.page() + "\n"
