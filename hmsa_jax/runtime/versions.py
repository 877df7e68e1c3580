"""Which code runs: of this project and of the libraries that decide what it computes."""

import hashlib
import pathlib
import platform
from importlib import metadata

_LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "opencv-python-headless",
)
_ROOT = pathlib.Path(__file__).parents[2]
_PACKAGES = ("data", "hmsa_jax")


def of_all() -> dict[str, str]:
    """Name -> version of Python and the libraries, and a digest of this project's files."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {"code": code(), "python": platform.python_version()} | versions


def code() -> str:
    """A digest of all Python files of the project, in hexadecimal digits."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
