import numpy as np
import pytest

from hmsa_jax.metrics import bootstrap, confusion


@pytest.fixture(scope="module")
def images():
    """Matrices of 40 images; class 3 is in two of them."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 100, (40, 4, 4)).astype(np.int32)
    counts += (np.eye(4) * rng.integers(0, 600, (40, 1, 1))).astype(np.int32)
    counts[2:, 3] = counts[2:, :, 3] = 0
    return counts


def test_each_resample_is_scored_as_a_set_of_images(images):
    """Drawn in another way, one image after the other: the same distribution."""
    rng = np.random.default_rng(1)
    naive = [
        confusion.mean_iou(images[rng.integers(0, 40, 40)].sum(0, np.int64)) for _ in range(3000)
    ]
    got = bootstrap.mean_iou_of_resamples(images)
    assert got.shape == (bootstrap.RESAMPLES,)
    assert got.mean() == pytest.approx(np.mean(naive), abs=4 * np.std(naive) / 1000**0.5)
    assert got.std() == pytest.approx(np.std(naive), rel=0.1)
    np.testing.assert_allclose(
        bootstrap.interval(got), np.percentile(naive, [2.5, 97.5]), atol=0.2 * np.std(naive)
    )


def test_resamples_of_the_same_images_are_paired(images):
    """What one image more or less changes is common to both, so that their difference is not."""
    better = images.copy()
    better[:, 0, 0] += 30
    first, second = map(bootstrap.mean_iou_of_resamples, (images, better))
    assert (first == bootstrap.mean_iou_of_resamples(images)).all()
    assert (second - first).std() < 0.3 * first.std()
    assert bootstrap.interval(second - first)[0] > 0 > bootstrap.interval(first - second)[1]


def test_an_image_alone_has_no_interval(images):
    samples = bootstrap.mean_iou_of_resamples(images[:1])
    assert np.isnan(bootstrap.interval(samples)).all()
    nothing = bootstrap.mean_iou_of_resamples(np.zeros((3, 2, 2), np.int32))
    assert np.isnan(bootstrap.interval(nothing)).all()


def test_runs_are_drawn_beside_images():
    """Of two runs a quarter of the resamples has the first alone; images stay paired."""
    samples = np.stack([np.arange(1000.0), np.arange(1000.0) + 10])
    shift = bootstrap.mean_over_runs(samples) - np.arange(1000.0)
    assert set(shift) == {0.0, 5.0, 10.0}
    assert (shift == 0).mean() == pytest.approx(0.25, abs=0.05)
    one = bootstrap.mean_over_runs(samples[:1])
    np.testing.assert_array_equal(one, samples[0])
