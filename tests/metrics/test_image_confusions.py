import math

import numpy as np

from hmsa_jax.metrics.image_confusions import ImageConfusions


def test_totals_exceed_int32_and_images_are_listed_worst_first():
    half = [[2**30, 0], [2**30, 0]]
    right, nothing = [[3, 0], [0, 5]], [[0, 0], [0, 0]]
    counts = np.int32([[right], [half], [nothing], [half]])
    confusions = ImageConfusions(("a", "b", "c", "d"), ("single (1)",), ("x", "y"), counts)
    total = confusions.totals["single (1)"]
    assert total.dtype == np.int64
    assert total.tolist() == [[2**31 + 3, 0], [2**31, 5]]
    assert confusions.labelled().tolist() == [[3, 5], [2**30, 2**30], [0, 0], [2**30, 2**30]]
    worst = confusions.worst_first("single (1)")
    assert [score.image for score in worst] == ["b", "d", "a", "c"]
    assert [(s.mean_iou, s.pixel_accuracy) for s in worst[:3]] == [(0.25, 0.5)] * 2 + [(1.0, 1.0)]
    assert math.isnan(worst[3].mean_iou)
    assert math.isnan(worst[3].pixel_accuracy)
