"""Hierarchical multi-scale attention for semantic segmentation, in JAX and Flax.

`load_run` opens what `python main.py train` and `convert` leave behind; docs/python.md shows how.
"""

import os

from etils import epy

__version__ = "0.1.0"

with epy.lazy_imports():  # `import hmsa_jax` alone takes no time
    from hmsa_jax.experiment import run


def load_run(directory: str | os.PathLike, step: int | str | None = None) -> "run.Run":
    """Opens a trained network. See `hmsa_jax.experiment.run.load`."""
    return run.load(directory, step)
