"""What the first signal does, and when."""

import os
import signal

import pytest

from hmsa_jax.distributed.preemption import StopSignal

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_first_signal_interrupts_what_has_nothing_to_save(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with (
        pytest.raises(KeyboardInterrupt, match="Stopped in the evaluation"),
        StopSignal() as stop,
        stop.interrupting("Stopped in the evaluation."),
    ):
        send(number)
    assert [signal.getsignal(n) for n in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_elsewhere_it_is_a_request_which_is_not_forgotten(number):
    with StopSignal() as stop:
        with stop.interrupting("Not now."):
            pass
        send(number)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt, match="Later"), stop.interrupting("Later."):
            raise AssertionError("the body does not begin")
