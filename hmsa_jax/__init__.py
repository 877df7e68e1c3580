"""Hierarchical multi-scale attention for semantic segmentation, in JAX and Flax.

`load_run` opens what `python main.py train` and `convert` leave behind; docs/python.md shows how.
`load_export` opens what `export` writes, with jax and numpy alone; docs/export.md shows how.
"""

# Each door imports what lies behind it when it is opened: `import hmsa_jax` takes no time, and
# `load_export` works where most of our packages are missing.
import os
import typing

if typing.TYPE_CHECKING:
    from hmsa_jax.experiment.run import Run
    from hmsa_jax.exported.model import ExportedModel

__version__ = "0.1.0"


def load_run(directory: str | os.PathLike, step: int | str | None = None) -> "Run":
    """Opens a trained network. See `hmsa_jax.experiment.run.load`."""
    from hmsa_jax.experiment import run

    return run.load(directory, step)


def load_export(path: str | os.PathLike, *, check: bool = True) -> "ExportedModel":
    """Opens an exported network. See `hmsa_jax.exported.model.load`."""
    from hmsa_jax.exported import model

    return model.load(path, check=check)
