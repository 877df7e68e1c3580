"""The loop over training steps: batches in, figures and checkpoints out, stopped by a signal."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
from jax.sharding import Mesh

from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.distributed.preemption import LastStep, Preemption
from hmsa_jax.input.pipeline import Batch
from hmsa_jax.performance.efficiency import StepWork
from hmsa_jax.performance.profiling import Profile
from hmsa_jax.runtime.background import Background
from hmsa_jax.training.checkpoint import Checkpoints
from hmsa_jax.training.monitor import Monitor
from hmsa_jax.training.state import TrainState
from hmsa_jax.training.step_log import STEPS_AHEAD, StepLog

Step = Callable[
    [TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]
]  # (state, batch) -> (state, metrics)


@dataclasses.dataclass(frozen=True)
class Loop:
    """What decides when something happens between the steps.

    Attributes:
      steps: the number of the last step; the first is 1.
      log_every: steps between two lines of figures.
      save_every: steps between two checkpoints; the last step has one, too.
      wait_minutes: the longest wait for processes that still compile.
    """

    steps: int
    log_every: int
    save_every: int
    wait_minutes: float = hosts.MINUTES

    def run(
        self,
        state: TrainState,
        start_step: int,
        batches: Iterator[Batch],
        mesh: Mesh,
        *,
        compile_step: Callable[
            [TrainState, dict[str, jax.Array]], tuple[Step, Background[StepWork]]
        ],
        make_log: Callable[[Background[StepWork]], StepLog],
        checkpoints: Checkpoints,
        monitor: Monitor,
        profile: Profile,
        preemption: Preemption,
    ) -> tuple[TrainState, int]:
        """Takes the steps after `start_step` to the last, or to the one at which it stops.

        Nothing travels between host and devices but a batch a step, and figures now and then. A
        step that is saved anyway is saved before it is evaluated: it is written meanwhile, and an
        evaluation that fails loses nothing.

        Args:
          state: after `start_step` steps, on the devices of the mesh; its memory is used again.
          start_step: below `steps`.
          batches: this process's, from that of step `start_step` + 1 on.
          mesh: the devices.
          compile_step: given a state and a batch on the devices, the compiled step and its work.
          make_log: given that work, what takes the figures.
          checkpoints: takes the states.
          monitor: evaluates them.
          profile: traces some steps.
          preemption: says when to stop.

        Returns:
          The state after the last step done, which is saved, and its number.

        Raises:
          FloatingPointError: figures of a step are not finite.
        """
        shardings = sharding.training_batch(mesh)
        step = start_step
        with jax.transfer_guard("disallow"), contextlib.ExitStack() as stack:
            batch = sharding.put_batch(next(batches), shardings)
            hosts.wait_for_all("first batch")  # what is waited for here holds up no collective
            train_step, work = compile_step(state, batch)
            hosts.wait_for_all("train step", self.wait_minutes)
            monitor.begin()
            last_step = LastStep(preemption, STEPS_AHEAD, "training")
            log = stack.enter_context(make_log(work))
            for step in range(start_step + 1, self.steps + 1):
                profile.before(step)
                with jax.profiler.StepTraceAnnotation("train", step_num=step):
                    state, metrics = train_step(state, batch)
                log.add(step, metrics)
                profile.after(step, metrics)
                if step < self.steps:  # the next batch travels while this step runs
                    with log.waiting(step):
                        batch = sharding.put_batch(next(batches), shardings)
                log.keep_up()
                is_asked = last_step.is_reached(step)
                is_last = is_asked or step == self.steps
                is_saved = is_last or step % self.save_every == 0
                is_evaluated = not is_asked and monitor.is_due(step)
                if is_saved or is_evaluated or step % self.log_every == 0:
                    log.check_finite(checkpoints)
                if step % self.log_every == 0 or step == self.steps:
                    log.write()
                if is_saved:
                    log.flush()
                    checkpoints.save(state, step)
                    monitor.check()
                if is_evaluated:
                    with log.paused():
                        outcome = monitor.evaluate(state, step)
                        is_last = is_last or outcome.ends
                        if not is_saved and (is_last or outcome.is_best):
                            log.flush()
                            checkpoints.save(state, step)
                        monitor.settle()
                if is_last:
                    break
        return state, step
