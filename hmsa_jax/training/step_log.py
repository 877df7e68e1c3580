"""The figures of the steps: fetched now and then, checked, written and shown."""

import contextlib
import time
from collections.abc import Iterator

import jax
import numpy as np
import optax

from hmsa_jax.performance import efficiency
from hmsa_jax.runtime.progress import Progress
from hmsa_jax.training import checkpoint
from hmsa_jax.training.metric_writer import MetricWriter, NoWriter

STEPS_AHEAD = 2  # how far dispatch may run ahead of the device


class StepLog:
    """Metrics of the steps since the last check, left on the device until then.

    Args:
      step: the last step done.
      batch_size: images a step.
      work: what a step does.
      schedule: step -> learning rate.
      writer: takes the figures.
      progress: shows them.
    """

    def __init__(
        self,
        step: int,
        batch_size: int,
        work: efficiency.StepWork,
        schedule: optax.Schedule,
        writer: MetricWriter | NoWriter,
        progress: Progress,
    ):
        self._batch_size = batch_size
        self._work = work
        self._schedule = schedule
        self._writer = writer
        self._progress = progress
        self._pending: list[tuple[int, dict[str, jax.Array]]] = []
        self._latest: tuple[int, dict[str, np.ndarray]] | None = None
        self._rate = _Rate(step)

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes a step's metrics, and waits for the step before last to finish."""
        self._pending.append((step, metrics))
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
        """Leaves the time that the body takes out of the steps per second."""
        with self._rate.paused():
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
        rate = self._rate.steps_per_second(step)
        figures["images_per_second"] = self._batch_size * rate
        figures |= self._work.figures(rate)
        self._writer.write(step, figures)
        self._progress.show(
            f"loss {figures['loss']:.4f}  lr {figures['learning_rate']:.2g}"
            f"  {figures['images_per_second']:.1f} img/s  {efficiency.describe(figures)}"
        )


class _Rate:
    """Steps per second since the last reading."""

    def __init__(self, step: int):
        self._step, self._time = step, time.monotonic()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self._time += time.monotonic() - begin

    def steps_per_second(self, step: int) -> float:
        now = time.monotonic()
        rate = (step - self._step) / (now - self._time)
        self._step, self._time = step, now
        return rate
