"""Saving and restoring the training state, asynchronously and whole; weights of other runs."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp

from hmsa_jax.models import classifiers, pretrained
from hmsa_jax.state import TrainState


class Checkpoints:
    """The checkpoints of one run, `DIRECTORY/STEP`, of which the newest are kept.

    Saving copies the state and writes in the background; a checkpoint that was not written to the
    end is not one. Use as a context manager: leaving it waits for the last write.

    Args:
      directory: made if it is missing.
      keep: how many are kept.
    """

    def __init__(self, directory: pathlib.Path, keep: int):
        self.directory = directory.resolve()
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self._manager.close()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int) -> None:
        """Starts to write `state`; a step that is saved already is left as it is."""
        if step != self._manager.latest_step():
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, like: TrainState, step: int) -> TrainState:
        """Reads a checkpoint with the shapes, dtypes and shardings of `like`.

        Raises:
          ValueError: it holds another network or optimizer.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{self.directory}/{step} does not fit this config's network and optimizer: {error}"
            ) from error
        # A jitted copy owns its buffers, so that the train step can reuse them.
        return jax.jit(lambda tree: jax.tree.map(lambda x: x.copy(), tree))(restored)


def start_from(
    run: pathlib.Path, state: TrainState, classes: tuple[Sequence[str], Sequence[str]] | None = None
) -> tuple[TrainState, pretrained.Coverage]:
    """Takes over the weights and running statistics of another run that match in name and shape.

    Args:
      run: a directory that was trained into or converted into.
      state: the state before the first step.
      classes: names of that run's classes and of ours, if they differ: see
        `classifiers.with_classes`.

    Returns:
      That state with the newest weights of the run, and how the two networks fit.

    Raises:
      FileNotFoundError: the run has no checkpoint.
      ValueError: nothing fits.
    """
    drawn = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    theirs = read_weights(run, "init_from")
    if classes is not None:
        params = classifiers.with_classes(theirs["params"], drawn["params"], *classes)
        theirs = theirs | {"params": params}
    weights, coverage = pretrained.take_matching(drawn, theirs)
    if not coverage.taken:
        raise ValueError(f"no tensor of {run} fits this network: {coverage.describe()}")
    return with_weights(state, weights["params"], weights["batch_stats"]), coverage


def with_weights(state: TrainState, params: dict, batch_stats: dict) -> TrainState:
    """The state before the first step with other weights, as host arrays of the same shapes."""

    def put(values, like):
        return jax.device_put(values, jax.tree.map(lambda x: x.sharding, like))

    return dataclasses.replace(
        state,
        params=put(params, state.params),
        batch_stats=put(batch_stats, state.batch_stats),
        ema_params=None if state.ema_params is None else put(params, state.ema_params),
    )


def newest_step(run: pathlib.Path) -> int | None:
    """The step of a run's newest checkpoint that was written to the end; None without one."""
    steps = ocp.utils.checkpoint_steps(run / "checkpoints") if _has_checkpoints(run) else []
    return max(steps, default=None)


def latest_step_of(run: pathlib.Path, field: str) -> int:
    """The step of a run's newest checkpoint; FileNotFoundError, naming the field, without one."""
    step = newest_step(run)
    if step is None:
        raise FileNotFoundError(
            f"{field} is {run}, which holds no checkpoint; name the --workdir of a run, or of"
            " `convert --from`"
        )
    return step


def _has_checkpoints(run: pathlib.Path) -> bool:
    return (run / "checkpoints").is_dir()


def read_weights(run: pathlib.Path, field: str) -> dict:
    """Best params and batch_stats of a run's newest checkpoint, as nested dicts of host arrays.

    Raises:
      FileNotFoundError: the run has no checkpoint; the message names the field.
    """
    step = latest_step_of(run, field)
    reader = ocp.PyTreeCheckpointHandler()
    directory = run.resolve() / "checkpoints" / str(step) / "default"
    stored = reader.metadata(directory).tree
    params = "ema_params" if stored.get("ema_params") else "params"
    wanted = {name: stored[name] for name in (params, "batch_stats")}
    weights = reader.restore(
        directory,
        args=ocp.args.PyTreeRestore(
            item=jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), wanted),
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted),
            partial_restore=True,
        ),
    )
    return {"params": weights[params], "batch_stats": weights["batch_stats"]}
