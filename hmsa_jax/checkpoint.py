"""Saving and restoring the training state, asynchronously and whole."""

import pathlib

import jax
import orbax.checkpoint as ocp

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
