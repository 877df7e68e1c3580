"""Shares by class and size of the object, beside sums of single pixels."""

import numpy as np
import pytest

from hmsa_jax.report.scale_shares import ScaleShares


def test_objects_are_told_apart_and_their_pixels_counted():
    label = np.zeros((100, 100), np.uint8)
    label[10:13, 10:13] = 1  # 9 of 10000 pixels: small
    label[13, 13] = 1  # hangs on by a corner: now 10, which is medium
    label[50:55, 50:51] = 1  # 5: small
    label[70:90, 70:90] = 1  # 400: large
    label[0] = 255
    rng = np.random.default_rng(0)
    half = rng.integers(0, 256, label.shape).astype(np.uint8)
    shares = ScaleShares(3, (1.0, 0.5))
    assert shares.scales == (0.5, 1.0)
    for _ in range(2):
        shares.add(label, {0.5: half, 1.0: 255 - half})
    assert shares.objects[1].tolist() == [2, 2, 2]
    assert shares.pixels[1].tolist() == [10, 20, 800]
    assert shares.objects[0].tolist() == [0, 0, 2]
    assert shares.objects[2].sum() == shares.pixels[2].sum() == 0
    part = half / 255
    regions = [
        part[50:55, 50:51],
        np.append(part[10:13, 10:13], part[13, 13]),
        part[70:90, 70:90],
    ]
    of_class = shares.by_class_and_size()[1]
    for size, region in enumerate(regions):
        assert of_class[size] == pytest.approx([100 * region.mean(), 100 - 100 * region.mean()])
    assert shares.by_class()[0, 0] == pytest.approx(100 * part[label == 0].mean())
    assert shares.by_size()[0] == pytest.approx(of_class[0])
    assert np.isnan(shares.by_class()[2]).all()


def test_rounded_shares_sum_to_all():
    shares = ScaleShares(1, (0.5, 1.0, 2.0))
    third = np.full((4, 4), 85, np.uint8)
    shares.add(np.zeros((4, 4), np.uint8), {0.5: third, 1.0: third, 2.0: third - 1})
    assert shares.by_class()[0].sum() == pytest.approx(100)
