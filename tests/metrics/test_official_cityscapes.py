"""IoU of masks in files equals what the official evaluation of Cityscapes says of them."""

import cv2
import numpy as np
import pytest

from hmsa_jax.metrics import confusion

official = pytest.importorskip(
    "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
    reason="pip install -e .[official]",
)


@pytest.fixture
def arguments(monkeypatch):
    settings = {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True}
    for name, value in settings.items():
        monkeypatch.setattr(official.args, name, value)
    monkeypatch.setattr(official, "CSUPPORT", False)  # without Cython
    return official.args


def test_class_iou_is_the_official_one(arguments, tmp_path):
    rng = np.random.default_rng(0)
    known = [label for label in official.labels if label.id >= 0]
    scored = sorted(
        (label for label in known if not label.ignoreInEval), key=lambda label: label.trainId
    )
    absent = {"train", "bus"}  # neither labelled nor predicted, and only predicted
    labelled = [label.id for label in known if label.name not in absent]
    predictable = [label.id for label in scored if label.name != "train"]
    train_ids = np.full(256, 255, np.uint8)
    for label in scored:
        train_ids[label.id] = label.trainId
    total = np.zeros((19, 19), np.int64)
    files = []
    for i in range(3):
        label = rng.choice(labelled, (64, 128)).astype(np.uint8)
        wrong = rng.choice(predictable, label.shape).astype(np.uint8)
        is_right = np.isin(label, predictable) & (rng.random(label.shape) < 0.7)
        predicted = np.where(is_right, label, wrong)
        names = (f"town_{i:06}_000019_leftImg8bit.png", f"town_{i:06}_000019_gtFine_labelIds.png")
        for name, mask in zip(names, (predicted, label), strict=True):
            cv2.imwrite(str(tmp_path / name), mask)
        files.append([str(tmp_path / name) for name in names])
        masks = (train_ids[mask][None] for mask in (label, predicted))
        total += np.asarray(confusion.confusion_matrices(*masks, 19))[0]
    theirs = official.evaluateImgLists(*map(list, zip(*files, strict=True)), arguments)
    expected = [theirs["classScores"][label.name] for label in scored]
    np.testing.assert_allclose(confusion.class_iou(total), expected, rtol=0, atol=1e-9)
    assert np.isnan(expected).sum() == 1
    assert confusion.mean_iou(total) == pytest.approx(theirs["averageScoreClasses"], abs=1e-9)
