"""Weights & Biases, with the extra `wandb`; its own variables, such as WANDB_MODE, steer it."""

import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from hmsa_jax.runtime import storage
from hmsa_jax.training.boards.board import Kind, Start, check_installed
from hmsa_jax.training.boards.delivery import Delivery

_NAME = "wandb"
_PROJECT = "hmsa_jax"  # unless WANDB_PROJECT names one
_SECONDS_TO_CONNECT = _SECONDS_TO_FINISH = 15  # less than a run that ends waits for
_SECONDS_ON_DISK = 1.0  # after which a kill leaves a figure; else it is 15


class _Connection:
    """A run of W&B. Steps are a figure of their own: W&B's must not repeat, ours may."""

    def __init__(self, start: Start, id: str):
        import wandb

        self._wandb = wandb
        self.id = id or secrets.token_hex(4)
        self._run: Any = wandb.init(
            id=self.id,
            resume="allow",
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=os.environ.get("WANDB_NAME", start.workdir.name),
            dir=os.environ.get("WANDB_DIR") or _directory_of(start.workdir),
            config=dict(start.fields),
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                init_timeout=_SECONDS_TO_CONNECT,
                finish_timeout=_SECONDS_TO_FINISH,
                x_transaction_log_flush_interval=_SECONDS_ON_DISK,
            ),
        )
        self._run.config.update(dict(start.fields), allow_val_change=True)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        images = {name: self._wandb.Image(p, file_type="jpg") for name, p in pictures.items()}
        self._run.log({"step": step, **images})

    def close(self) -> None:
        self._run.finish()


def _directory_of(workdir: pathlib.Path) -> str | None:
    """Where W&B makes its folder `wandb`; None for where it likes."""
    return None if storage.is_remote(workdir) else str(workdir)


def _check(workdir: pathlib.Path) -> None:
    check_installed(_NAME)
    import wandb

    mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
    if mode == "online" and not _knows_key(wandb):
        raise ValueError(
            f"writers has {_NAME}, which knows no key here; `wandb login`, or set"
            " WANDB_MODE=offline"
        )
    if mode == "offline" and storage.is_remote(workdir) and not os.environ.get("WANDB_DIR"):
        raise ValueError(
            f"writers has {_NAME}, which is offline and writes to no bucket, as {workdir} is; set"
            " WANDB_DIR to a directory of this machine"
        )


def _knows_key(wandb: Any) -> bool:
    try:
        return wandb.login(prompt=False, verify=False)
    except wandb.Error as error:
        raise ValueError(f"writers has {_NAME}, but {error}") from error


def _open(start: Start) -> Delivery:
    return Delivery(_NAME, start, lambda id: _Connection(start, id))


KIND = Kind(_open, _check)
