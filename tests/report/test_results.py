import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from data.label_spec import LabelSpec
from hmsa_jax.auto_labels import summary as summary_lib
from hmsa_jax.experiment import check_data
from hmsa_jax.inference.evaluation import Evaluation
from hmsa_jax.metrics.image_confusions import ImageConfusions
from hmsa_jax.report import checked_data, comparison, count_file, results
from hmsa_jax.runtime.console import console

ROOT = pathlib.Path(__file__).parents[2]
CLASSES = ("road", "sign", "fence")
CONFUSIONS = {
    "single (1)": np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]]),
    "hierarchical (0.5, 1, 2)": np.array([[8, 0, 0], [1, 1, 0], [0, 0, 0]]),
}


COUNTS = {
    "boundary": {
        "label_region": [[4, 2, 0], [4, 2, 0]],
        "predicted_region": [[4, 0, 0], [6, 4, 0]],
        "both_regions": [[2, 0, 0], [4, 1, 0]],
        "label_contour": [[8, 2, 0], [8, 2, 0]],
        "label_contour_3px": [[4, 0, 0], [8, 2, 0]],
        "label_contour_5px": [[8, 0, 0], [8, 2, 0]],
        "predicted_contour": [[4, 0, 0], [8, 2, 0]],
        "predicted_contour_3px": [[4, 0, 0], [8, 1, 0]],
        "predicted_contour_5px": [[4, 0, 0], [8, 2, 0]],
    },
    "calibration": {
        "count": [[0] * 14 + [10]] * 2,
        "hits": [[0] * 14 + [8], [0] * 14 + [9]],
        "confidence": [[0.0] * 14 + [9.5]] * 2,
    },
}


def an_evaluation(confusions, classes, counts=None):
    """Of two images: the first has all counts, the second has them once more."""
    stacked = np.stack([*confusions.values()])
    images = np.int32([stacked, stacked])
    found = ImageConfusions(("first", "second"), tuple(confusions), tuple(classes), images)
    sums = {
        metric: {name: np.array(values) for name, values in named.items()}
        for metric, named in (counts or {}).items()
    }
    return Evaluation(found, sums)


@pytest.fixture(scope="module")
def evaluation():
    return an_evaluation(CONFUSIONS, CLASSES, COUNTS)


def test_json_holds_percent_and_counts(evaluation):
    result = json.loads(results.to_json(evaluation, split="x/val", step=7))
    assert result["split"] == "x/val"
    assert result["step"] == 7
    single = result["protocols"]["single (1)"]
    assert single["iou"] == {"road": 75.0, "sign": 50.0, "fence": None}
    assert single["mean_iou"] == 62.5
    assert single["pixel_accuracy"] == 80.0
    assert single["precision"] == {"road": 100.0, "sign": 50.0, "fence": None}
    assert single["recall"] == {"road": 75.0, "sign": 100.0, "fence": None}
    assert single["frequency_weighted_iou"] == 70.0  # (8 x 75 + 2 x 50) / 10
    assert single["confusion"] == (2 * CONFUSIONS["single (1)"]).tolist()
    assert single["mean_iou_interval"] == [62.5, 62.5]  # whichever images are drawn
    image = {"mean_iou": 62.5, "pixel_accuracy": 80.0}
    assert single["images"] == [{"image": "first", **image}, {"image": "second", **image}]
    boundary = single["boundary"]
    assert boundary["boundary_iou"] == {"road": 33.3333, "sign": 0.0, "fence": None}
    assert boundary["boundary_f_score_3px"] == {"road": 66.6667, "sign": 0.0, "fence": None}
    assert boundary["mean_boundary_f_score_5px"] == 50.0
    assert single["calibration"]["expected_calibration_error"] == 15.0
    assert single["calibration"]["hits"][-1] == 8
    (difference,) = result["differences"]
    gain = round(100 * ((8 / 9 + 1 / 2) / 2 - 0.625), 4)
    assert difference == {
        "protocols": ["single (1)", "hierarchical (0.5, 1, 2)"],
        "mean_iou": gain,
        "interval": [gain, gain],
    }


def test_scores_of_another_kind_go_beside(tmp_path, evaluation):
    first = results.to_json(evaluation, split="x/val", step=7, flip=False)
    path = results.path_for(tmp_path, "val-7", first)
    assert path == tmp_path / "val-7.json"
    path.write_text(first)
    counts = path.with_suffix(".npz")
    origin = count_file.Origin("x/val", 7)
    count_file.write(counts, origin, evaluation.confusions, results.kind_of(first))
    more = {name: confusion + 1 for name, confusion in CONFUSIONS.items()}
    again = results.to_json(an_evaluation(more, CLASSES, COUNTS), split="x/val", step=7, flip=False)
    assert results.path_for(tmp_path, "val-7", again) == path
    alone = {"single (1)": CONFUSIONS["single (1)"]}
    for others in (
        results.to_json(evaluation, split="x/val", step=7, flip=True),
        results.to_json(an_evaluation(alone, CLASSES), split="x/val", step=7, flip=False),
        results.to_json(an_evaluation(CONFUSIONS, CLASSES), split="x/val", step=7, flip=False),
    ):
        assert results.path_for(tmp_path, "val-7", others) == tmp_path / "val-7-2.json"
    (tmp_path / "val-7-2.json").write_text("damaged")
    (tmp_path / "val-7-3.npz").touch()
    assert results.path_for(tmp_path, "val-7", others) == tmp_path / "val-7-4.json"
    path.unlink()  # its counts still say what they are of
    assert results.path_for(tmp_path, "val-7", first) == path
    assert results.path_for(tmp_path, "val-7", others) == tmp_path / "val-7-4.json"


def test_scores_of_earlier_versions_are_kept_and_summarized(tmp_path, evaluation):
    """They have neither metrics nor intervals."""
    stored = ROOT / "docs/results/street_scenes"
    earlier = min(stored.glob("*.json"))
    path = tmp_path / "val-7.json"
    path.write_text(earlier.read_text())
    new = results.to_json(evaluation, split="x/val", flip=False)
    assert results.path_for(tmp_path, "val-7", new) == tmp_path / "val-7-2.json"
    (tmp_path / "val-7-2.json").write_text(new)
    command = [sys.executable, str(ROOT / "docs/results/summarize.py")]
    for file in (earlier, tmp_path / "val-7-2.json"):
        done = subprocess.run([*command, f"net={file}"], capture_output=True, text=True, check=True)
        protocol, scores = next(iter(json.loads(file.read_text())["protocols"].items()))
        assert f"| net | {protocol} | {scores['mean_iou']:.1f} |" in done.stdout


def test_table_has_a_row_a_class_and_marks_the_best(evaluation):
    console = rich.console.Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(results.to_table(evaluation, "title"))
    text = capture.get()
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "\x1b[1m88.9" in rows["road"]  # bold
    assert "75.0" in rows["road"]
    assert "\x1b[1m75.0" not in rows["road"]
    assert rows["fence"].count(" - ") == 2
    assert "62.5" in rows["mean IoU"]
    assert "62.5 to 62.5" in rows["95 % interval"]
    assert "\x1b[1m43.3" in rows["boundary IoU"]  # (4 / 6 + 1 / 5) / 2
    assert "33.3" in rows["boundary F, 3 px"]
    assert "50.0" in rows["boundary F, 5 px"]
    assert "\x1b[1m5.0" in rows["calibration error"]  # the lowest


def test_a_line_names_the_worst_images():
    good, bad = np.int32([[5, 0], [0, 5]]), np.int32([[5, 3], [0, 2]])
    images = tuple(f"image {i}" for i in range(8))
    counts = np.array([[bad + i * good, good + i * good] for i in range(8)])
    counts[3, 1] = bad
    counts[4] = 0
    found = ImageConfusions(images, ("single (1)", "max (1, 2)"), ("road", "sign"), counts)
    line = results.worst_images(found)
    assert line.startswith("Lowest mean IoU of an image by max (1, 2): image 3 (51.2), image 0 (10")
    assert "image 4" not in line


def test_nothing_is_less_than_0_where_it_is_0_in_the_digits_shown():
    ends = (-0.0004, 0.0004)
    assert results.interval_text(ends) == "0.0 to 0.0"
    assert results.interval_text(ends, signed=True) == "+0.0 to +0.0"
    difference = comparison.Difference(("a", "b"), 0.5, 0.4999, ends)
    assert difference.cells() == ("50.0", "50.0", "+0.0", "+0.0 to +0.0")


def test_of_one_image_there_is_no_interval():
    confusions = ImageConfusions(("a",), ("single (1)",), ("road",), np.ones((1, 1, 1, 1), int))
    result = json.loads(results.to_json(Evaluation(confusions, {})))
    assert result["protocols"]["single (1)"]["mean_iou_interval"] == [None, None]
    with console.capture() as capture:
        console.print(results.to_table(Evaluation(confusions, {}), "title"))
    assert "95 % interval  │      - │" in capture.get()


@pytest.mark.parametrize("name", ["[road]", "a [/b]", "<b>", 'it\'s "x"', ":car:", "\\[x]"])
def test_every_table_shows_names_of_classes_as_they_are(name):
    label_spec = LabelSpec.of_train_ids((name, "other"), ((0, 0, 0), (1, 1, 1)))
    tables = [
        results.to_table(
            an_evaluation({"single (1)": np.eye(2)}, label_spec.names), "folder/train[:10%]"
        ),
        summary_lib.to_table(summary_lib.summarize([], label_spec.names)),
        check_data.to_table(label_spec.names, checked_data.Statistics(label_spec)),
    ]
    for table in tables:
        with console.capture() as capture:
            console.print(table)
        assert f"│ {name} " in capture.get()
