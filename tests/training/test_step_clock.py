"""How long steps take, and how long devices wait for data, by a clock that is set by hand."""

import time

import numpy as np
import pytest

from hmsa_jax.training import step_clock
from hmsa_jax.training.goodput import Goodput
from hmsa_jax.training.step_clock import StepClock


class Promised:
    """An array that is there at a time."""

    def __init__(self, clock, moment):
        self.clock, self.moment = clock, moment

    def block_until_ready(self):
        while self.clock.now < self.moment:
            time.sleep(0.001)
        return self


class Hand:
    """A clock; `finish` sets it to when a step is done, and lets that be seen."""

    now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        time.sleep(seconds)


@pytest.fixture
def hand(monkeypatch):
    hand = Hand()
    monkeypatch.setattr(step_clock, "time", hand)
    return hand


def finish(hand, clock, step, moment):
    hand.now = moment
    while step not in clock._finished:
        time.sleep(0.001)


def waited(hand, clock, step, begin, end):
    hand.now = begin
    with clock.waiting(step):
        hand.now = end


def test_seconds_of_steps_and_waits_of_idle_devices(hand):
    clock = StepClock()
    clock.begin(4)
    clock.dispatched(5, Promised(hand, 103))
    waited(hand, clock, 5, 101, 102)  # the devices are busy
    clock.dispatched(6, Promised(hand, 105))
    finish(hand, clock, 5, 103)
    finish(hand, clock, 6, 105)
    waited(hand, clock, 6, 106, 108)  # they have nothing to do
    clock.dispatched(7, Promised(hand, 110))
    finish(hand, clock, 7, 110)
    interval = clock.read(7)
    np.testing.assert_allclose(interval.seconds, [3, 2, 5])
    assert interval.data_wait == pytest.approx(2 / 10)
    assert interval.steps_per_second == pytest.approx(3 / 10)
    figures = interval.figures()
    assert figures["time/step_median"] == pytest.approx(3)
    assert figures["time/step_max"] == pytest.approx(5)

    with clock.paused():  # of an evaluation
        hand.now = 150
    clock.dispatched(8, Promised(hand, 153))
    hand.now = 151
    with clock.waiting(8):  # this step ends in the middle of the wait
        finish(hand, clock, 8, 153)
        hand.now = 154
    clock.dispatched(9, Promised(hand, 155))
    finish(hand, clock, 9, 155)
    interval = clock.read(9)
    np.testing.assert_allclose(interval.seconds, [3, 2])
    assert interval.data_wait == pytest.approx(1 / 5)
    clock.close()


def test_goodput_counts_all_starts(monkeypatch):
    goodput = Goodput(1000.0, {"time/in_steps": 30.0})
    monkeypatch.setattr("time.time", lambda: 1100.0)
    figures = goodput.figures(20.0)
    assert figures == {"time/in_steps": 50.0, "time/goodput": 0.5}
    assert goodput.figures(70.0)["time/goodput"] == 1.0  # a clock that was set back
