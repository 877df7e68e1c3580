"""The command `train`: what is checked and prepared, the steps, and the evaluations."""

import contextlib
import copy
import functools
import pathlib
import time

import jax
import ml_collections

from data.label_spec import LabelSpec, differing_names
from hmsa_jax.config import schema
from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.experiment import (
    evaluation,
    feasibility,
    monitoring,
    protocols,
    run_directory,
    splits,
    start,
    train_input,
)
from hmsa_jax.experiment.experiment import assemble, check_batch
from hmsa_jax.performance.profiling import Profile
from hmsa_jax.runtime import journal
from hmsa_jax.runtime.background import Background
from hmsa_jax.runtime.locks import occupied
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.progress import Progress, tell
from hmsa_jax.training import boards, checkpoint, checkpoint_reading, integrity
from hmsa_jax.training.goodput import Goodput
from hmsa_jax.training.loop import Loop
from hmsa_jax.training.metric_writer import MetricWriter, NoWriter
from hmsa_jax.training.monitor import Monitor
from hmsa_jax.training.step_log import StepLog


def train(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, step: int | None = None
) -> bool:
    """Trains to the last step, from the newest good checkpoint if there is one.

    Evaluates now and then if the config says so, and after the last step. SIGTERM or Ctrl-C, in any
    process, saves a checkpoint and returns early in all of them.

    Args:
      config: of the experiment.
      workdir: holds config, checkpoints, metrics and results of this run, and of no other.
      step: of the checkpoint to go on from, from `--step`; later ones are set aside.

    Returns:
      Whether all is done.

    Raises:
      ValueError: the config cannot be run, the workdir belongs to another or is in use, or no
        checkpoint is good.
      FileNotFoundError: there is no such data, no such run to start from, or no such checkpoint.
      FloatingPointError: a loss, gradient or weight is not finite; the message names the step.
    """
    label_spec = check(config, workdir, step)
    protocols.tell_left_out(config)
    builder = start.build_data(config)
    scored = evaluation.open_scored(config, builder)
    read = train_input.open_sources(config.data, builder)
    splits.check_agreement(
        read | {"data.eval_split": scored}, label_spec, step, config.mesh.wait_minutes
    )
    length = monitoring.length_of(config, len(read["data.train_split"]))
    monitoring.check_length(workdir, config, length)
    experiment = assemble(_with_steps(config, length.steps), label_spec=label_spec)
    batches_from = train_input.prepare(config.data, label_spec, builder, seed=config.seed)
    hosts.wait_for_all("input", config.mesh.wait_minutes)
    first = None if _steps_in(workdir) else _first_state(experiment)
    run_directory.claim(workdir, config, label_spec)
    lock = occupied(workdir) if jax.process_index() == 0 else contextlib.nullcontext()
    log = workdir / "logs" / f"host-{jax.process_index()}.log"
    with Preemption() as preemption, lock, journal.kept(log):
        tell(length.describe(config.evaluate.every))
        state, step = (first, 0) if first is not None else _resume(experiment, workdir, step)
        _check_weights(state)
        checkpoint.set_later_aside(workdir, step)
        plan = monitoring.plan_of(config, length)
        record = monitoring.record_at(workdir, plan, length, step)
        return _run(
            experiment, workdir, scored, batches_from, state, step, plan, record, preemption
        )


def check(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    step: int | None = None,
    *,
    has_pool: bool = True,
) -> LabelSpec:
    """Makes sure, before data are built or anything is written, that a run can be trained.

    Args:
      config: of the experiment.
      workdir: as for `train`.
      step: as for `train`.
      has_pool: whether the images of `data.pool` are there yet.

    Returns:
      The classes.

    Raises:
      ValueError: as for `train`.
      FileNotFoundError: as for `train`.
    """
    label_spec = start.check_run(config, workdir)
    evaluation.check_writable(workdir)
    if jax.process_index() == 0:
        boards.check(config.writers, workdir)
    monitoring.check(config)
    if has_pool:
        train_input.check_pool(config.data, label_spec)
    if step is not None or _steps_in(workdir):
        checkpoint_reading.find_step(workdir, "--workdir", step)
    else:
        _check_origin(config, workdir)
    feasibility.check_training(config)
    feasibility.check_class_weights(config, label_spec)
    check_batch(config, sharding.make_mesh(config.mesh.data, config.mesh.spatial))
    return label_spec


def _steps_in(workdir: pathlib.Path) -> list[int]:
    return checkpoint_reading.steps_in(checkpoint_reading.directory_of(workdir, "--workdir"))


def _with_steps(config: ml_collections.ConfigDict, steps: int) -> ml_collections.ConfigDict:
    """The config with its length in steps, if it is in epochs."""
    if not config.epochs:
        return config
    return schema.override(copy.deepcopy(config), {"steps": steps, "epochs": 0.0})


def _check_origin(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses to draw weights for a run that was promised some which cannot be read."""
    run_directory.check_promise(workdir)
    if config.init_from:
        checkpoint_reading.find_step(any_path(config.init_from, "init_from"), "init_from")


def _resume(experiment, workdir, step):
    """The state of the newest good checkpoint, or of the one that is named, and its step."""
    state, step = checkpoint.restore(workdir, "--workdir", experiment.initial_state(), step)
    tell(f"Resuming at step {step}." if step else "Starting from the converted weights.")
    return state, step


def _first_state(experiment):
    """The state before the first step: drawn, or with the weights of `init_from` if it is named."""
    if not experiment.config.init_from:
        return experiment.initial_state()
    run = any_path(experiment.config.init_from, "init_from")
    ours, theirs = experiment.classes, run_directory.classes_of(run)
    lines, classes = [], None
    if theirs is None:
        lines.append("It does not say which classes it has; outputs are taken over by number.")
    elif differing := differing_names(theirs.names, ours):
        classes = theirs.names, ours
        lines += ["Its classes are others; outputs are taken over by name, as far as both have it:"]
        lines += [f"  {line}" for line in differing]
    state, coverage = checkpoint.start_from(run, experiment.initial_state(), classes)
    lines = [f"Starting with {len(coverage.taken)} tensors from {run}.", *lines]
    tell("\n".join([*lines, coverage.describe()]).strip())
    return state


def _check_weights(state):
    """Raises ValueError in all processes unless they start from equal weights and statistics."""
    if jax.process_count() > 1:
        digest = integrity.digest_of_tree(jax.device_get((state.params, state.batch_stats)))
        hosts.check_agreement("weights", {"weights": digest, "step": str(int(state.step))})


def _run(experiment, workdir, scored, batches_from, state, step, plan, record, preemption):
    """Evaluates what is due, takes the steps that are left, and says how far that came.

    Returns:
      Whether all is done.
    """
    is_due = plan.is_due(step, record)
    if plan.is_last(step, record) and not is_due:
        tell(f"{plan.why(step, record)} Its scores are on record; `evaluate` computes them again.")
        return True
    config, evaluated = experiment.config, {score.step for score in record.scores}
    kept, others = config.checkpoint, plan.bests_otherwise(record, _steps_in(workdir))
    if others:
        tell(
            f"Checkpoints that were the best in evaluations of another kind are kept: steps"
            f" {', '.join(map(str, others))}."
        )
    evaluated -= {step} if is_due else set()
    with (
        checkpoint.Checkpoints(workdir, kept.keep, kept.keep_every, others) as checkpoints,
        MetricWriter(workdir, step, evaluated, config.writers, schema.in_words(config))
        if jax.process_index() == 0
        else NoWriter() as writer,
    ):
        monitor = Monitor(
            workdir,
            record,
            plan,
            checkpoints=checkpoints,
            prepare=functools.partial(monitoring.prepare, experiment, scored, plan),
            report=functools.partial(evaluation.report, config, workdir),
            writer=writer,
            preemption=preemption,
        )
        if monitor.resume(state, step):
            batches = batches_from(step)
            state, step = _run_steps(
                experiment, workdir, batches, state, step, checkpoints, monitor, writer, preemption
            )
    monitoring.draw(workdir, monitor.record, plan)
    if not monitor.is_over(step):
        evaluates = ", with the evaluation of that step" if monitor.is_due(step) else ""
        tell(f"Stopped at step {step}, saved in {workdir}. The same command goes on{evaluates}.")
        return False
    tell(monitor.describe_end(step))
    return True


def _run_steps(
    experiment, workdir, batches, state, start_step, checkpoints, monitor, writer, preemption
):
    """The state after the steps that this start takes, and the number of the last one."""
    config = experiment.config
    with (
        contextlib.closing(batches),
        Progress("train", config.steps, start_step) as progress,
        Profile(config.profile, workdir / "profile", start_step) as profile,
    ):
        wait_minutes = config.mesh.wait_minutes
        return Loop(config.steps, config.log_every, config.checkpoint.every, wait_minutes).run(
            state,
            start_step,
            batches,
            experiment.mesh,
            compile_step=functools.partial(_compile_step, experiment),
            make_log=lambda work: StepLog(
                start_step,
                config.data.batch_size,
                work,
                experiment.hyperparameters.schedule,
                Goodput(monitor.record.began, writer.earlier),
                writer,
                progress,
            ),
            checkpoints=checkpoints,
            monitor=monitor,
            profile=profile,
            preemption=preemption,
        )


def _compile_step(experiment, state, batch):
    """Compiles before the loop, so that its first step is as fast as the others.

    Returns:
      The compiled step, `(state, batch) -> (state, metrics)`, and its `StepWork`, which is counted
      in the background.
    """
    tell("Compiling the train step (once; the cache keeps it) ...")
    begin = time.monotonic()
    train_step = experiment.train_step()
    with jax.transfer_guard("allow"):
        hyperparameters = experiment.hyperparameters_on_devices()
        # The first step takes the arrays themselves.
        shapes = jax.tree.map(_shape, (state, hyperparameters, batch))
        traced = train_step.trace(*shapes)
        work = Background(functools.partial(experiment.step_work, traced, *shapes))
        compiled = traced.lower().compile()
    tell(f"Compiled in {time.monotonic() - begin:.0f} s.")
    return lambda state, batch: compiled(state, hyperparameters, batch), work


def _shape(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)
