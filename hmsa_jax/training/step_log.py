"""The figures of the steps: fetched now and then, checked, written and shown."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
import optax

from hmsa_jax.performance import efficiency
from hmsa_jax.runtime.background import Background
from hmsa_jax.runtime.progress import Progress, tell
from hmsa_jax.training import checkpoint
from hmsa_jax.training.goodput import Goodput
from hmsa_jax.training.metric_writer import MetricWriter, NoWriter
from hmsa_jax.training.step_clock import StepClock

STEPS_AHEAD = 2  # how far dispatch may run ahead of the device

_INPUT_BOUND = 0.05  # of the time of an interval, that devices wait for data


class StepLog:
    """Metrics of the steps since the last check, left on the device until then.

    Args:
      step: the last step done.
      batch_size: images a step.
      work: what a step does, which may be counted yet.
      schedule: step -> learning rate.
      goodput: counts the time of the steps.
      writer: takes the figures.
      progress: shows them.
    """

    def __init__(
        self,
        step: int,
        batch_size: int,
        work: Background[efficiency.StepWork],
        schedule: optax.Schedule,
        goodput: Goodput,
        writer: MetricWriter | NoWriter,
        progress: Progress,
    ):
        self._batch_size = batch_size
        self._work = work
        self._schedule = schedule
        self._goodput = goodput
        self._writer = writer
        self._progress = progress
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._latest: tuple[int, dict[str, np.ndarray]] | None = None
        self._clock = StepClock()
        self._clock.begin(step)
        self._is_input_bound = False  # and that is told

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self._clock.close()

    def waiting(self, step: int) -> contextlib.AbstractContextManager[None]:
        """While the body waits for the data of the step after this one, which was added."""
        return self._clock.waiting(step)

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics that a step promises."""
        self._clock.dispatched(step, metrics)
        self._pending.append((step, metrics))

    def keep_up(self) -> None:
        """Waits for the step before last to finish."""
        if len(self._pending) > STEPS_AHEAD:
            jax.block_until_ready(self._pending[-1 - STEPS_AHEAD])
        self._progress.advance()

    def check_finite(self, checkpoints: checkpoint.Checkpoints) -> None:
        """Fetches the pending metrics; raises FloatingPointError naming the first bad step."""
        fetched = jax.device_get(self._pending)
        for step, metrics in fetched:
            if not all(np.isfinite(value) for value in metrics.values()):
                figures = ", ".join(f"{name}={value:.4g}" for name, value in metrics.items())
                raise FloatingPointError(
                    f"step {step} is not finite: {figures}. {checkpoints.describe_last_good()}"
                    " Try a smaller optimizer.learning_rate in a new workdir."
                )
        if fetched:
            self._latest = fetched[-1]
        self._pending = []

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time that the body takes out of that of the steps."""
        with self._clock.paused():
            yield

    def write(self) -> None:
        """Writes and shows the figures of the last step that was checked."""
        if self._latest is None:
            return
        step, metrics = self._latest
        figures = {name: float(value) for name, value in metrics.items()}
        # The schedule is evaluated where the data are not: on the host, outside the guard.
        with jax.transfer_guard("allow"):
            figures["learning_rate"] = float(self._schedule(step - 1))
        interval = self._clock.read(step)
        figures["images_per_second"] = self._batch_size * interval.steps_per_second
        figures |= self._work.result().figures(interval.steps_per_second)
        figures |= interval.figures() | self._goodput.figures(interval.total)
        self._writer.write(step, figures)
        self._progress.show(
            f"loss {figures['loss']:.4f}  lr {figures['learning_rate']:.2g}"
            f"  {figures['images_per_second']:.1f} img/s  data {interval.data_wait:.0%}"
            f"  {efficiency.describe(figures)}"
        )
        if interval.data_wait > _INPUT_BOUND and not self._is_input_bound:
            self._is_input_bound = True
            tell(
                f"Training is input-bound: of the time up to step {step} the devices waited"
                f" {interval.data_wait:.0%} for data. data.workers=auto reads on all spare cores,"
                " data.encoding=stored decodes PNG images faster; docs/training.md says more."
            )

    def flush(self) -> None:
        """Has all figures so far written, for the checkpoint that follows."""
        self._writer.flush()
