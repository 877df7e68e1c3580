"""What choosing is worth, where it is known."""

import numpy as np

from hmsa_jax.metrics import selection


def counts_of(right):
    """From pixels that are right, `[N, P, 2]`, of 100 of each class."""
    wrong = 100 - right
    diagonal = np.eye(2, dtype=int)
    return diagonal * right[..., None] + np.roll(diagonal, 1, 1) * wrong[..., None]


def test_a_choice_among_equals_is_worth_nothing_on_other_images():
    right = np.random.default_rng(0).binomial(100, 0.7, (40, 200, 2))
    found = selection.on_other_images(counts_of(right), range(200), 0)
    assert found.seen > 0.015
    assert abs(found.unseen) < 0.01


def test_what_is_better_everywhere_is_chosen_if_it_may_be():
    right = np.full((10, 3, 2), 50)
    right[:, 1], right[:, 2] = 60, 80  # IoU 1/3, 3/7, 2/3
    counts = counts_of(right)
    found = selection.on_other_images(counts, [0, 1, 2], 0)
    np.testing.assert_allclose([found.seen, found.unseen], 1 / 3)
    found = selection.on_other_images(counts, [0, 1], 2)
    np.testing.assert_allclose([found.seen, found.unseen], 3 / 7 - 2 / 3)
    assert selection.on_other_images(counts[:3], [0, 1], 2) is None
