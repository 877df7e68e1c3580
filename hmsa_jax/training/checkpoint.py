"""Saving and restoring the training state, asynchronously and whole; weights of other runs."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from hmsa_jax.distributed import hosts
from hmsa_jax.distributed.sharding import put_equal
from hmsa_jax.models import classifiers, pretrained
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint_reading, integrity
from hmsa_jax.training.checkpoint_reading import DIGESTS, STATE, DamagedError, reason
from hmsa_jax.training.state import TrainState

_SET_ASIDE = "set_aside"
_LISTED = 5  # differences that a message names


class _Best(checkpoint_managers.PreservationPolicy):
    """Preserves one checkpoint, whose step changes, and others, whose do not."""

    def __init__(self, others: Collection[int]):
        self.step: int | None = None
        self._others = others

    def should_preserve(self, checkpoints, *, context):
        return [c.step == self.step or c.step in self._others for c in checkpoints]


class Checkpoints:
    """The checkpoints that a run writes, `RUN/checkpoints/STEP`: the newest, some, and the best.

    Saving copies the state and writes in the background; a checkpoint that was not written to the
    end is not one. Several processes all save, and the first one writes. Use as a context manager:
    leaving it waits for the last write.

    Args:
      run: directory of the run, which is made if it is missing.
      keep: how many are kept, the newest ones.
      keep_every: steps from one that is kept for good to the next; 0 for none.
      others: steps of further ones that are kept.
    """

    def __init__(
        self, run: pathlib.Path, keep: int, keep_every: int = 0, others: Collection[int] = ()
    ):
        self.directory = checkpoint_reading.directory_of(run, "--workdir")
        self._best = _Best(others)
        kept = [checkpoint_managers.LatestN(keep), self._best]
        if keep_every:
            kept.append(checkpoint_managers.EveryNSteps(keep_every))
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=checkpoint_managers.AnyPreservationPolicy(kept),
                create=True,
                lightweight_initialize=True,  # what it would read of a checkpoint may be damaged
                # In the background, threads would wait minutes for a directory that cannot be made.
                async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        with self._naming_errors():
            self._manager.close()

    def save(self, state: TrainState, step: int) -> None:
        """Starts to write `state`, with a digest of each array.

        Raises:
          FloatingPointError: it holds values that are not finite.
          OSError: it, or the state before, cannot be written.
          ValueError: there is a checkpoint of this step, or of a later one.
        """
        # Of a device's own array: what is read of `state` itself stays with it, and the next step
        # could not reuse its memory on a CPU.
        arrays = jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), state))
        named = integrity.by_name(arrays)
        if name := integrity.first_not_finite(named):
            raise FloatingPointError(
                f"the state after step {step} is not finite, in {name}; it is not saved."
                f" {self.describe_last_good()}"
            )
        # The first process writes for all, and so do its digests.
        digests = integrity.digests(named) if jax.process_index() == 0 else {}
        items = {
            STATE: ocp.args.StandardSave(arrays),
            DIGESTS: ocp.args.JsonSave({"blake2b": digests}),
        }
        with self._naming_errors():
            is_new = self._manager.save(step, args=ocp.args.Composite(**items))
        if not is_new:
            raise ValueError(
                f"{self.directory} holds a checkpoint of step {self._manager.latest_step()};"
                f" step {step} is not saved"
            )

    def keep_best(self, step: int | None) -> None:
        """Keeps the checkpoint of this step from now on, and no longer the one that was named."""
        self._best.step = step

    def wait(self) -> None:
        """Waits for the last write; OSError if it fails."""
        with self._naming_errors():
            self._manager.wait_until_finished()

    def describe_last_good(self) -> str:
        """A sentence that says which checkpoint is good, after waiting for the last write."""
        self.wait()
        for step in reversed(checkpoint_reading.steps_in(self.directory)):
            with contextlib.suppress(DamagedError):
                checkpoint_reading.read_step(self.directory, step)
                return f"The last good checkpoint is that of step {step} in {self.directory}."
        return f"{self.directory} holds no good checkpoint."

    @contextlib.contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax and tensorstore raise nearly anything
            if isinstance(error, OSError) and error.filename:
                raise
            raise OSError(
                f"{self.directory}: no checkpoint can be written: {reason(error)}"
            ) from error


def set_later_aside(run: pathlib.Path, step: int) -> None:
    """Moves the checkpoints of later steps to a directory beside them, that others may come.

    None is deleted but for what a process that was killed left of one, on a disk. Several processes
    all call this, once.
    """
    hosts.from_first("set aside", lambda: _set_later_aside(run, step))


def _set_later_aside(run: pathlib.Path, step: int) -> str:
    directory = checkpoint_reading.directory_of(run, "--workdir")
    checkpoint_reading.remove_unfinished(directory)
    aside = directory / _SET_ASIDE
    for later in reversed(checkpoint_reading.steps_in(directory)):
        if later <= step:
            break
        storage.make_directory(aside)
        taken = set(storage.names(aside))
        names = (str(later), *(f"{later}.{i + 1}" for i in range(len(taken))))
        target = aside / next(name for name in names if name not in taken)
        storage.move_tree(directory / str(later), target, last=checkpoint_reading.COMMITTED)
        tell(f"Checkpoint {later} is now {target}, so that step {later} can be saved anew.")
    return ""


@dataclasses.dataclass(frozen=True)
class RunWeights:
    """The network of a run, as nested dicts of host arrays.

    Attributes:
      step: of the checkpoint.
      params: to evaluate: the moving average if the run has one.
      batch_stats: BatchNorm's running statistics, likewise.
      are_averages: whether `params` are that.
    """

    step: int
    params: dict
    batch_stats: dict
    are_averages: bool


def read_weights(run: pathlib.Path, field: str, step: int | None = None) -> RunWeights:
    """The weights of a run's newest good checkpoint, or of the step that `--step` names.

    Args:
      run: a directory that was trained into or converted into.
      field: how the user names it.
      step: from `--step`.

    Raises:
      FileNotFoundError: the run has no such checkpoint.
      ValueError: it is damaged, or all are.
    """

    def of_network(stored: dict) -> tuple[str, str]:
        params = "ema_params" if stored.get("ema_params") else "params"
        return (params, "ema_batch_stats" if stored.get("ema_batch_stats") else "batch_stats")

    reading = checkpoint_reading.read(run, field, step, choose=of_network)
    names = of_network(reading.tree)
    params, batch_stats = (reading.tree[name] for name in names)
    return RunWeights(reading.step, params, batch_stats, names[0] == "ema_params")


def restore_network(
    run: pathlib.Path,
    field: str,
    like: tuple[dict, dict],
    sharding: jax.sharding.Sharding,
    step: int | None = None,
) -> TrainState:
    """The state to evaluate of a run's newest good checkpoint, or of the step `--step` names.

    Args:
      run: directory of the run.
      field: how the user names it.
      like: parameters and running statistics, which give shapes and dtypes.
      sharding: of every array.
      step: from `--step`.

    Returns:
      A state without that of the optimizer; of a moving average without the weights themselves.

    Raises:
      FileNotFoundError: the run has no such checkpoint.
      ValueError: it is damaged, or all are; or it holds another network.
    """
    weights = read_weights(run, field, step)
    stored = integrity.by_name({"params": weights.params, "batch_stats": weights.batch_stats})
    own = {"params": like[0], "batch_stats": like[1]}
    wanted = integrity.by_name(own)
    _refuse_differing(run, weights.step, stored, wanted)
    leaves = put_equal([stored[name] for name in wanted], sharding)
    tree = jax.tree.unflatten(jax.tree.structure(own), leaves)
    params, batch_stats = tree["params"], tree["batch_stats"]
    number = put_equal(np.int32(weights.step), sharding)
    if weights.are_averages:
        return TrainState({}, {}, (), number, params, batch_stats)
    return TrainState(params, batch_stats, (), number)


def restore(
    run: pathlib.Path, field: str, like: TrainState, step: int | None = None
) -> tuple[TrainState, int]:
    """The state of a run's newest good checkpoint, or of the step that `--step` names.

    Args:
      run: directory of the run.
      field: how the user names it.
      like: gives shapes, dtypes and shardings.
      step: from `--step`.

    Returns:
      The state, and its step.

    Raises:
      FileNotFoundError: the run has no such checkpoint.
      ValueError: it is damaged, or all are; or it holds another network or optimizer.
    """
    wanted = integrity.by_name(like)

    def completed(stored: dict) -> dict:
        """In checkpoints of earlier versions only parameters have a moving average."""
        if like.ema_batch_stats is None or stored.get("ema_batch_stats"):
            return stored
        return stored | {"ema_batch_stats": stored.get("batch_stats")}

    def check(found: int, stored: dict) -> None:
        _refuse_differing(run, found, integrity.by_name(completed(stored)), wanted)

    reading = checkpoint_reading.read(run, field, step, check=check)
    arrays = integrity.by_name(completed(reading.tree))
    leaves = [put_equal(arrays[name], leaf.sharding) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), reading.step


def _refuse_differing(
    run: pathlib.Path, step: int, stored: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    there, here = (
        {name: _described(x) for name, x in arrays.items()} for arrays in (stored, wanted)
    )
    differing = [
        f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
    if differing:
        more = f"; and {len(differing) - _LISTED} more" if len(differing) > _LISTED else ""
        raise ValueError(
            f"checkpoint {step} of {run} does not fit this config's network and optimizer: "
            + "; ".join(differing[:_LISTED])
            + more
        )


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
      That state with the newest good weights of the run, and how the two networks fit.

    Raises:
      FileNotFoundError: the run has no checkpoint.
      ValueError: nothing fits, or all checkpoints are damaged.
    """
    drawn = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    stored = read_weights(run, "init_from")
    params = stored.params
    if classes is not None:
        params = classifiers.with_classes(params, drawn["params"], *classes)
    theirs = {"params": params, "batch_stats": stored.batch_stats}
    weights, coverage = pretrained.take_matching(drawn, theirs)
    if not coverage.taken:
        raise ValueError(f"no tensor of {run} fits this network: {coverage.describe()}")
    return with_weights(state, weights["params"], weights["batch_stats"]), coverage


def with_weights(state: TrainState, params: dict, batch_stats: dict) -> TrainState:
    """The state before the first step with other weights, as host arrays of the same shapes."""

    def put(values: dict, like: dict) -> dict:
        return put_equal(values, jax.tree.map(lambda x: x.sharding, like))

    return dataclasses.replace(
        state,
        params=put(params, state.params),
        batch_stats=put(batch_stats, state.batch_stats),
        ema_params=None if state.ema_params is None else put(params, state.ema_params),
        ema_batch_stats=(
            None if state.ema_batch_stats is None else put(batch_stats, state.ema_batch_stats)
        ),
    )


def _described(array: np.ndarray | jax.Array) -> str:
    return f"{np.dtype(array.dtype)} {list(array.shape)}"
