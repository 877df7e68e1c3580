"""What pyproject.toml says of the project is so."""

import ast
import importlib
import importlib.metadata
import inspect
import pathlib
import re
import sys
import tomllib

import pytest

import hmsa_jax

ROOT = pathlib.Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
ONNX = [
    line
    for line in (ROOT / "requirements-onnx.txt").read_text().splitlines()
    if not line.startswith("#")
]
NEEDED = [
    *PROJECT["dependencies"],
    *(line for extra in ("gcs", "simd", "explore", "wandb", "mlflow") for line in EXTRAS[extra]),
    *ONNX,
]
OURS = {"hmsa_jax", "data", "configs", "main"}
# Packages whose import has another name; one may be a part of what is named.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "fsspec": "gcsfs",
    "google": "tensorflow-datasets",
    "mlflow": "mlflow-skinny",
    "orbax": "orbax-checkpoint",
}


def normalized(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def imported_packages():
    """The outermost packages that our files import anywhere, in functions too."""
    for folder in ("hmsa_jax", "data", "configs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield node.module.partition(".")[0]


def test_every_package_that_is_imported_is_a_dependency():
    declared = {normalized(line) for line in NEEDED}
    foreign = set(imported_packages()) - OURS - set(sys.stdlib_module_names)
    assert "jax" in foreign
    assert {normalized(DISTRIBUTIONS.get(name, name)) for name in foreign} - declared == set()


def test_every_dependency_has_a_lower_and_an_upper_bound():
    for line in NEEDED:
        assert re.fullmatch(r"[\w.-]+>=[\d.]+,<[\d.]+", line), line


def test_what_is_installed_lies_within_the_bounds():
    packaging = pytest.importorskip("packaging.requirements")
    for line in PROJECT["dependencies"]:
        requirement = packaging.Requirement(line)
        installed = importlib.metadata.version(requirement.name)
        assert requirement.specifier.contains(installed), line


@pytest.mark.parametrize(
    ("file", "extra"),
    [
        ("requirements.txt", ""),
        ("requirements-dev.txt", "[dev]"),
        ("requirements-targets.txt", "[targets]"),
    ],
)
def test_requirements_files_name_the_project_and_an_extra(file, extra):
    lines = (ROOT / file).read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"-e .{extra}"]
    assert extra.strip("[]") in {"", *PROJECT["optional-dependencies"]}


def test_the_command_is_a_function_without_arguments():
    module, _, function = PROJECT["scripts"]["hmsa-jax"].partition(":")
    start = getattr(importlib.import_module(module), function)
    assert not inspect.signature(start).parameters


def test_every_package_of_ours_would_be_installed():
    names = {
        name.removesuffix("*")
        for name in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    names |= set(PYPROJECT["tool"]["setuptools"]["py-modules"])
    assert names == OURS
    for name in OURS - {"main"}:  # find takes no folder that is not a package
        for folder in {path.parent for path in (ROOT / name).rglob("*.py")}:
            assert (folder / "__init__.py").exists(), folder


def test_the_changelog_has_this_version():
    versions = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert hmsa_jax.__version__ in versions
    assert versions[0] == "Unreleased"


def test_the_licence_is_the_one_that_is_named():
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "[Apache-2.0](LICENSE)" in (ROOT / "README.md").read_text()
