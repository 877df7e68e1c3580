"""What the first signal does, and when."""

import os
import signal

import pytest

from hmsa_jax.distributed.preemption import Preemption

SIGNALS = [signal.SIGTERM, signal.SIGINT]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_first_signal_interrupts_what_has_nothing_to_save(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with (
        pytest.raises(KeyboardInterrupt, match="Stopped in the evaluation"),
        Preemption() as preemption,
        preemption.interrupting("Stopped in the evaluation."),
    ):
        send(number)
    assert [signal.getsignal(n) for n in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_elsewhere_it_is_a_request_which_is_not_forgotten(number, capfd):
    with Preemption() as preemption:
        with preemption.interrupting("Not now."):
            pass
        send(number)
        assert preemption.requested
        with pytest.raises(KeyboardInterrupt, match="Later"), preemption.interrupting("Later."):
            raise AssertionError("the body does not begin")
    assert capfd.readouterr().err.count("Ctrl-C again leaves at once") == 1
