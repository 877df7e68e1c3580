"""What is declared of each field."""

import pytest

from hmsa_jax.config.fields import FIELDS, GROUPS
from hmsa_jax.models import remat


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_declared_whole(name):
    field = FIELDS[name]
    assert field.allows(field.default), "the default is possible"
    assert field.before is None or field.allows(field.before)
    assert field.meaning.endswith(".")
    assert "  " not in field.meaning
    assert field.expected
    assert name.rpartition(".")[0] in GROUPS


def test_groups_stand_in_the_order_of_their_fields():
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in FIELDS)) == list(GROUPS)


def test_a_name_that_is_registered_later_is_allowed(monkeypatch):
    field = FIELDS["model.remat"]
    assert not field.allows("sometimes")
    monkeypatch.setitem(remat.POLICIES, "sometimes", None)
    assert field.allows("sometimes")
    assert "'sometimes'" in field.expected
