"""What a reader is told of the fields."""

import pathlib

import pytest

from hmsa_jax.config import field_guide
from hmsa_jax.config.fields import FIELDS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == field_guide.page() + "\n", f"run `{field_guide.COMMAND}`"


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("data.flip", ["data.flip"]),
        ("mesh", ["mesh.data", "mesh.spatial", "mesh.wait_minutes"]),
        ("flip", ["data.flip", "evaluate.flip"]),
        ("Learning_Rate", ["optimizer.learning_rate", "optimizer.poly_exponent"]),
        ("centroid", ["data.placement", "data.class_uniform_tile"]),
        ("resnet101", ["model.trunk"]),
    ],
)
def test_a_word_finds_fields_by_name_group_meaning_and_option(word, names):
    assert field_guide.find(word) == names


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("bathc_size", r"did you mean data\.batch_size\?"),
        ("zzzz", "`python main.py fields` lists all"),
        ("\udcff\n", "`python main.py fields` lists all"),
    ],
)
def test_an_unknown_word_is_told_in_a_line(word, hint):
    with pytest.raises(ValueError, match=rf"^no field has '.*' in .*; {hint}$") as error:
        field_guide.find(word)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("width", [1, 60, 100])
def test_the_list_has_every_field_once_and_keeps_the_width(width):
    lines = field_guide.listing(width).splitlines()
    first = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert sorted(first) == sorted(FIELDS)
    longest = max(map(len, FIELDS)) + 50
    assert max(map(len, lines)) <= max(width, longest)


def test_an_explanation_has_all_that_is_declared():
    text = " ".join(field_guide.explanation(["data.placement", "data.workers"], 100).split())
    for declared in (
        "data.placement",
        "'published', 'even'",
        "default: 'published'",
        "before: 'even'",
    ):
        assert declared in text
    assert FIELDS["data.placement"].meaning in text
    fixed, free = text.split("data.workers")
    assert "it stays as it was" in fixed
    assert "it may change" in free
