"""The boards on which a run shows its figures. A new one is a file beside these and a line here."""

import pathlib
from collections.abc import Sequence

from hmsa_jax.runtime.registry import Registry
from hmsa_jax.training.boards import mlflow_board, tensorboard, wandb_board
from hmsa_jax.training.boards.board import Kind

BOARDS: Registry[Kind] = Registry(
    "writer",
    {
        "tensorboard": tensorboard.KIND,
        "wandb": wandb_board.KIND,
        "mlflow": mlflow_board.KIND,
    },
)


def check(names: Sequence[str], workdir: pathlib.Path) -> None:
    """Raises ValueError if a board needs what is not there; nothing is asked of a network.

    Args:
      names: in `BOARDS`.
      workdir: of the run.
    """
    for name in names:
        BOARDS.get(name).check(workdir)
