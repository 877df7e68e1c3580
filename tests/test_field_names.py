"""Fields that messages and docs name are fields of a config."""

import ast
import pathlib
import re

from hmsa_jax.config import schema
from hmsa_jax.config.fields import RETIRED

ROOT = pathlib.Path(__file__).parents[1]
GROUPS = sorted({name.partition(".")[0] for name in schema.FIELDS if "." in name})
NAMED = re.compile(rf"(?<![\w./-])(?:{'|'.join(GROUPS)})\.\w+(?:\.\w+)?")
OVERRIDDEN = re.compile(r"--config\.((?:\w+\.)*\w+)=")
SOURCES = [ROOT / "main.py", *(p for d in ("hmsa_jax", "data") for p in (ROOT / d).rglob("*.py"))]
TEXTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]


def messages(path: pathlib.Path) -> list[str]:
    """The strings of a module that are no docstrings; of f-strings the constant parts."""
    tree = ast.parse(path.read_text())
    described = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, described)
    }
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return [value for value in constants if isinstance(value, str) and value not in docstrings]


def unknown(names) -> set[str]:
    """Those that are no field, no group, and no beginning that ends with '_'."""
    groups = {name.rpartition(".")[0] for name in schema.FIELDS}
    return {
        name
        for name in names
        if name not in schema.FIELDS
        and name not in groups
        and not (name.endswith("_") and any(field.startswith(name) for field in schema.FIELDS))
    }


def test_messages_name_fields_that_exist():
    found = {
        name: path for path in SOURCES for text in messages(path) for name in NAMED.findall(text)
    }
    for other in ("model.state_dict", "data.pkl", "data.street_scenes.records"):
        found.pop(other)  # in weight files, and a module
    assert "data.workers" in found
    found = {name: path for name, path in found.items() if name not in RETIRED}
    assert not {name: found[name] for name in unknown(found)}


def test_docs_name_fields_that_exist():
    texts = [path.read_text() for path in TEXTS]
    codes = [code for text in texts for code in re.findall(r"`[^`\n]+`", text)]
    found = {name for code in codes for name in NAMED.findall(code)}
    found |= {name for text in texts for name in OVERRIDDEN.findall(text)} - {"GROUP.FIELD"}
    assert "data.batch_size" in found
    assert not unknown(found)
