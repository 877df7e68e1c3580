"""Steps and epochs, and what comes every so many of them."""

from fractions import Fraction

import pytest

from hmsa_jax.training.length import Length, is_due, parse

LENGTH = Length(steps=1300, images=800, batch_size=48)  # an epoch is 16 2/3 steps


@pytest.mark.parametrize(
    ("epochs", "images", "batch_size", "steps"),
    [(175.0, 2975, 16, 32539), (0.1, 1000, 1, 100), (0.3, 10, 3, 1), (1e-5, 10**6, 10, 1)],
)
def test_steps_are_the_whole_ones(epochs, images, batch_size, steps):
    """Without the error of the float: 0.3 * 10 / 3 is below 1 in floating point."""
    assert Length.of_epochs(epochs, images, batch_size).steps == steps


def test_what_is_less_than_a_step_is_refused():
    with pytest.raises(
        ValueError, match=r"epochs is 0\.05, which is less than a step: .* 10 images"
    ):
        Length.of_epochs(0.05, 10, 1)
    with pytest.raises(ValueError, match=r"evaluate\.every is '0\.01 epochs', .* has 16\.7 steps"):
        LENGTH.period("0.01 epochs")


@pytest.mark.parametrize(
    "value", [-1, 1.5, True, "", "5", "5 epoch s", "0 epochs", "-1 epochs", None]
)
def test_what_is_no_interval(value):
    with pytest.raises(ValueError, match="expected a whole number of steps"):
        parse(value)


@pytest.mark.parametrize(
    ("every", "times"), [(0, 0), (100, 13), ("1 epoch", 78), ("2.5 epochs", 31)]
)
def test_it_comes_as_often_as_it_should_and_never_early(every, times):
    """After k periods, at the first step that ends the k-th: epochs do not drift."""
    period = LENGTH.period(every)
    due = [step for step in range(1, LENGTH.steps + 1) if is_due(step, period)]
    assert len(due) == times
    for k, step in enumerate(due, start=1):
        assert step - 1 < k * period <= step


def test_both_units_are_told():
    assert LENGTH.describe(0) == "The training has 1300 steps, 78 epochs of 800 images."
    assert LENGTH.describe("3 epochs").endswith(
        "images, and an evaluation every 50 steps, 3 epochs."
    )
    assert LENGTH.period("3 epochs") == Fraction(50)
