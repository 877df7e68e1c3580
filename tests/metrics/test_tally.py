import numpy as np

from hmsa_jax.metrics import tally


def test_sums_by_group_are_those_of_numpy():
    rng = np.random.default_rng(0)
    groups = rng.choice([*range(5), 5, 255], (2, 31, 47)).astype(np.uint8)
    masks = [rng.random(groups.shape) < 0.5 for _ in range(3)]
    values = rng.random(groups.shape, np.float32)
    counts = np.asarray(tally.counts(groups, masks, 5))
    sums = np.asarray(tally.sums(groups, values, 5))
    assert (counts.dtype, counts.shape) == (np.int32, (2, 5, 3))
    assert (sums.dtype, sums.shape) == (np.float32, (2, 5))
    for i in range(2):
        for group in range(5):
            chosen = groups[i] == group
            assert counts[i, group].tolist() == [(mask[i] & chosen).sum() for mask in masks]
            expected = values[i][chosen].sum(dtype=np.float64)
            np.testing.assert_allclose(sums[i, group], expected, atol=chosen.sum() / 2**17)


def test_sums_of_large_images_lose_nothing():
    """Added up in float32 one by one, values near 1 are rounded to 1 beyond 2^23."""
    shape = (1, 4200, 4100)
    groups = np.zeros(shape, np.uint8)
    values = np.full(shape, 1 - 2**-8, np.float32)
    np.testing.assert_array_equal(
        tally.sums(groups, values, 1), [[np.float32(4200 * 4100 * (1 - 2**-8))]]
    )
    ones = np.ones(shape, bool)
    np.testing.assert_array_equal(tally.counts(groups, [ones, ones], 1), [[[4200 * 4100] * 2]])
