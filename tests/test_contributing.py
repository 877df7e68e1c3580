"""CONTRIBUTING.md says how to add things: it is done here as it stands there, in a copy."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
CREATE = re.compile(r"Create `([^`]+)`:\n\n```python\n(.*?)```", re.DOTALL)
INSERT = re.compile(
    r"In `([^`]+)`, (?:among the (imports)|in `([^`]+)`):\n\n```python\n(.*?)```", re.DOTALL
)
USE = """
import contextlib, io, sys
import main

def told(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main.main(list(arguments))
    return out.getvalue()

print(told("check-data", "--config.data.name=squares", "--config.data.cache_dir=" + sys.argv[1]))
print(told("describe", "--depth=1", "--config.data.name=squares"))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the program in which everything is added."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("hmsa_jax", "data", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "main.py", copy)
    for path, content in CREATE.findall(TEXT):
        assert not (copy / path).exists()
        (copy / path).write_text(content)
    for path, imports, name, lines in INSERT.findall(TEXT):
        begin = (
            r"(?m)^(?=import |from )" if imports else rf"(?m)^{re.escape(name)}\b[^\n]*[\[{{(]\n"
        )
        text = (copy / path).read_text()
        match = re.search(begin, text)
        assert match, f"{path} has no {imports or name}"
        (copy / path).write_text(text[: match.end()] + lines + text[match.end() :])
    return copy


def test_what_is_added_is_there(copy, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing is wrong." in done.stdout
    assert "semantic_head: " in done.stdout
