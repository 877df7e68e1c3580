"""The figures of a log, whose devices and places are stand-ins."""

import time
import types

import jax
import jax.numpy as jnp
import pytest

from hmsa_jax.performance.efficiency import StepWork
from hmsa_jax.runtime.background import Background
from hmsa_jax.training.goodput import Goodput
from hmsa_jax.training.optimizer import poly_schedule
from hmsa_jax.training.step_log import StepLog


def test_the_log_has_the_rate_that_a_step_was_taken_with_and_its_images_a_second():
    written = {}
    writer = types.SimpleNamespace(write=lambda step, figures: written.update({step: figures}))
    progress = types.SimpleNamespace(show=lambda text: None, advance=lambda: None)
    work = Background(lambda: StepWork(10, tuple(jax.devices()[:1])))
    schedule, goodput = poly_schedule(0.1, 1.0, 10), Goodput(time.time(), {})
    with StepLog(4, 8, work, schedule, goodput, writer, progress) as log:
        for step in (5, 6):
            log.add(step, {"loss": jnp.float32(step)})
        log.check_finite(None)
        log.write()
    (figures,) = written.values()
    assert figures["learning_rate"] == pytest.approx(0.1 * (1 - 5 / 10))  # five came before it
    assert figures["images_per_second"] == pytest.approx(2 * 8 / figures["time/in_steps"])
    assert figures["flops_per_second"] == pytest.approx(2 * 10 / figures["time/in_steps"])
