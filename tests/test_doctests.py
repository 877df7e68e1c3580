"""The examples in docstrings do what they say."""

import doctest
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PATHS = sorted(
    path.relative_to(ROOT)
    for place in ("hmsa_jax/**/*.py", "data/**/*.py")
    for path in ROOT.glob(place)
    # tests/experiment/test_export.py makes what docs/python.md and docs/export.md need.
    if ">>> " in path.read_text() and path.name != "python.md"
)


def test_there_are_examples():
    assert pathlib.Path("hmsa_jax/models/fusion.py") in PATHS


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_examples(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module, optionflags=OPTIONS)
    assert result.attempted
    assert not result.failed
