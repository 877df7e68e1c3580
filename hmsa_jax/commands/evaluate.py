"""`evaluate`: scores a trained network under several protocols at once."""

import pathlib

import ml_collections
import numpy as np

from hmsa_jax.distributed.preemption import StopSignal
from hmsa_jax.experiment import evaluation, experiment, splits, start
from hmsa_jax.experiment import run as run_directory
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.training import checkpoint, checkpoint_reading


def evaluate(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, step: int | None = None
) -> dict[str, np.ndarray]:
    """The command: scores the newest good checkpoint of a workdir, or the one that `--step` names.

    Raises:
      ValueError: the config cannot be run or does not belong to the workdir, or no checkpoint is
        good.
      FileNotFoundError: the workdir holds no such checkpoint.
      KeyboardInterrupt: SIGTERM or Ctrl-C.
    """
    dataset = start.check_run(config, workdir)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    evaluation.tell_left_out(config)
    builder = start.build_data(config)
    tell_remarks(builder)
    scored = evaluation.open_scored(config, builder)
    splits.check_agreement({"data.eval_split": scored}, dataset.label_spec, step)
    parts = experiment.assemble(config)
    run_directory.claim(workdir, config, dataset.label_spec)
    with StopSignal() as stop, stop.interrupting("Stopped; no score is written."):
        state, _ = checkpoint.restore(workdir, "--workdir", parts.initial_state(), step)
        return evaluation.evaluate_state(config, workdir, parts, scored, state)
