"""A page of two runs of nothing, whose names would break out of it if anything could."""

import numpy as np

from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import run_page
from hmsa_jax.report.count_file import Origin
from hmsa_jax.report.page import gallery, thumbnail
from hmsa_jax.report.reported_run import ReportedRun, Scores
from hmsa_jax.report.scale_shares import ScaleShares

SCRIPT = "</script><script>window.broken = 1</script>"
NAMES = (SCRIPT, "\"quotes' & [red]", "sky")
PALETTE = ((128, 64, 128), (220, 20, 60), (70, 130, 180))
PROTOCOLS = ("single (1)", "hierarchical (0.5, 1)")
IMAGES = tuple(f"image {i} <img src=x onerror=window.broken=1>" for i in range(6))
# Percent of each class in each image; the second class is in the last two images alone.
IOUS = ((10, None, 90), (20, None, 85), (30, None, 5), (40, None, 70), (50, 15, 75), (60, 85, 95))


def reported(name=f"run {SCRIPT}", seed=0):
    rng = np.random.default_rng(seed)
    labelled = np.random.default_rng(9).integers(50, 90, (6, 1, 3, 1))
    hits = rng.integers(0, 50, (6, 2, 3, 1))
    counts = np.eye(3, dtype=int) * hits + np.roll(np.eye(3, dtype=int), 1, 1) * (labelled - hits)
    confusions = ImageConfusions(IMAGES, PROTOCOLS, NAMES, counts.astype(np.int32))
    bins = {"count": [0, 10, 20], "hits": [0, 4, 19], "confidence": [0.0, 5.0, 18.0]}
    calibration = {"expected_calibration_error": 4.2, **bins}
    metrics = {protocol: {"calibration": calibration} for protocol in PROTOCOLS}
    shares = ScaleShares(3, (0.5, 1.0))
    label = rng.integers(0, 3, (20, 30)).astype(np.uint8)
    half = rng.integers(0, 255, label.shape).astype(np.uint8)
    shares.add(label, {0.5: half, 1.0: 255 - half})
    rows = [{"step": s, "loss": 3 / s, "learning_rate": 1 / s, "cut": None} for s in range(1, 9)]
    rows += [{"step": s, f"mean_iou/{PROTOCOLS[1]}": 10.0 * s} for s in (4, 8)]
    fields = {"steps": "8", "data.dir": repr(f"/{SCRIPT}")}
    scores = Scores(Origin("streets/val", 8), confusions, {}, metrics)
    facts = {"classes": ", ".join(NAMES)}
    return ReportedRun(
        name, f"train {SCRIPT}", facts, fields, rows, (8, PROTOCOLS[1]), scores, shares
    )


def cards():
    rng = np.random.default_rng(0)
    found = []
    for name, ious in zip(IMAGES, IOUS, strict=True):
        label = rng.integers(0, 3, (12, 24)).astype(np.uint8)
        pictures = {
            "image": thumbnail.photograph(rng.integers(0, 255, (12, 24, 3)).astype(np.uint8)),
            "label": thumbnail.classes(label, PALETTE),
            "errors": thumbnail.errors(label, np.roll(label, 1), 3),
        }
        by_class = {i: float(iou) for i, iou in enumerate(ious) if iou is not None}
        mean = sum(by_class.values()) / len(by_class)
        found.append(gallery.Card(name, pictures, by_class, mean, SCRIPT))
    return sorted(found, key=lambda card: card.number)


def page(*runs, **options):
    values = {
        "defaults": {"steps": "1", "data.dir": "''", "seed": "0"},
        "protocol": PROTOCOLS[1],
        "palette": PALETTE,
        "cards": cards(),
        "remark": SCRIPT,
        "foot": SCRIPT,
    }
    return run_page.render(runs or [reported()], **(values | options))
