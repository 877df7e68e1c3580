"""Imports go in one direction, from the commands down to the runtime."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = (  # from the bottom
    "hmsa_jax.runtime",
    "data",
    "hmsa_jax.distributed",
    "hmsa_jax.performance",
    "hmsa_jax.weights",
    "hmsa_jax.models",
    "hmsa_jax.losses",
    "hmsa_jax.metrics",
    "hmsa_jax.input",
    "hmsa_jax.inference",
    "hmsa_jax.training",
    "hmsa_jax.report",
    "hmsa_jax.auto_labels",
    "hmsa_jax.predictions",
    "hmsa_jax.exported",
    "hmsa_jax.config",
    "hmsa_jax.experiment",
    "hmsa_jax.ablation",
    "hmsa_jax.explorer",
    "hmsa_jax.commands",
    "main",
)
FILES = sorted(
    path.relative_to(ROOT)
    for path in (*ROOT.glob("hmsa_jax/**/*.py"), *ROOT.glob("data/**/*.py"), ROOT / "main.py")
)


def room_of(module):
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), None)


def imported(tree):
    """The modules that a file imports anywhere, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports out"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_imports_from_its_room_and_from_rooms_below(path):
    room = room_of(".".join(path.with_suffix("").parts))
    if path == pathlib.Path("hmsa_jax/__init__.py"):
        room = "main"  # the door from Python stands above all rooms
    assert room is not None, f"{path} lies in no room; give it one, or add the room to ROOMS"
    modules = imported(ast.parse((ROOT / path).read_text()))
    above = {m for m in modules if room_of(m) and ROOMS.index(room_of(m)) > ROOMS.index(room)}
    assert not above


def test_every_room_is_there():
    assert {room_of(".".join(path.with_suffix("").parts)) for path in FILES} >= set(ROOMS)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("jax.sharding.PartitionSpec", "hmsa_jax/distributed/sharding.py"),
        ("jax._src", "hmsa_jax/distributed/coordination.py"),
        ("rich.progress", "hmsa_jax/runtime/progress.py"),
    ],
)
def test_one_file_has_it_for_all(name, file):
    users = {
        str(path)
        for path in FILES
        for module in imported(ast.parse((ROOT / path).read_text()))
        if f"{module}.".startswith(f"{name}.")
    }
    assert users == {file}
