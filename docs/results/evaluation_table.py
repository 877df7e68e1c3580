"""An evaluation file as Markdown: IoU of each class and all other scores, by protocol.

python docs/results/evaluation_table.py FILE.json
"""

import json
import pathlib
import sys

TITLES = {
    "mean_iou": "mean IoU",
    "mean_iou_interval": "95 % interval",
    "pixel_accuracy": "pixel accuracy",
    "mean_f1": "mean F1",
    "frequency_weighted_iou": "frequency-weighted IoU",
    "mean_boundary_iou": "boundary IoU",
    "mean_boundary_f_score_3px": "boundary F-score, 3 px",
    "mean_boundary_f_score_5px": "boundary F-score, 5 px",
    "expected_calibration_error": "expected calibration error",
}


def main(path: str) -> None:
    protocols = json.loads(pathlib.Path(path).read_text())["protocols"]
    rows = {f"{name} (IoU)": [] for name in next(iter(protocols.values()))["iou"]}
    rows |= {title: [] for title in TITLES.values()}
    for scores in protocols.values():
        for name, iou in scores["iou"].items():
            rows[f"{name} (IoU)"].append("" if iou is None else f"{iou:.1f}")
        flat = scores | scores.get("boundary", {}) | scores.get("calibration", {})
        for key, title in TITLES.items():
            value = flat[key]
            pair = isinstance(value, list)
            rows[title].append(" to ".join(f"{x:.1f}" for x in (value if pair else [value])))
    print(f"| % | {' | '.join(protocols)} |\n|---|{'---:|' * len(protocols)}")
    for title, cells in rows.items():
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
