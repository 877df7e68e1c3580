import json

import numpy as np
import pytest
import rich.console

from data.label_spec import LabelSpec
from hmsa_jax.auto_labels import summary as summary_lib
from hmsa_jax.experiment import check_data
from hmsa_jax.report import results
from hmsa_jax.runtime.console import console

CLASSES = ("road", "sign", "fence")
CONFUSIONS = {
    "single (1)": np.array([[6, 2, 0], [0, 2, 0], [0, 0, 0]]),
    "hierarchical (0.5, 1, 2)": np.array([[8, 0, 0], [1, 1, 0], [0, 0, 0]]),
}


def test_json_holds_percent_and_counts():
    result = json.loads(results.to_json(CONFUSIONS, CLASSES, split="x/val", step=7))
    assert result["split"] == "x/val"
    assert result["step"] == 7
    single = result["protocols"]["single (1)"]
    assert single["iou"] == {"road": 75.0, "sign": 50.0, "fence": None}
    assert single["mean_iou"] == 62.5
    assert single["pixel_accuracy"] == 80.0
    assert single["precision"] == {"road": 100.0, "sign": 50.0, "fence": None}
    assert single["recall"] == {"road": 75.0, "sign": 100.0, "fence": None}
    assert single["frequency_weighted_iou"] == 70.0  # (8 x 75 + 2 x 50) / 10
    assert single["confusion"] == CONFUSIONS["single (1)"].tolist()


def test_scores_of_another_kind_go_beside(tmp_path):
    first = results.to_json(CONFUSIONS, CLASSES, split="x/val", flip=False)
    path = results.path_for(tmp_path, "val-7", first)
    assert path == tmp_path / "val-7.json"
    path.write_text(first)
    again = results.to_json(
        {n: c + 1 for n, c in CONFUSIONS.items()}, CLASSES, split="x/val", flip=False
    )
    assert results.path_for(tmp_path, "val-7", again) == path
    for others in (
        results.to_json(CONFUSIONS, CLASSES, split="x/val", flip=True),
        results.to_json(
            {"single (1)": CONFUSIONS["single (1)"]}, CLASSES, split="x/val", flip=False
        ),
    ):
        assert results.path_for(tmp_path, "val-7", others) == tmp_path / "val-7-2.json"
    (tmp_path / "val-7-2.json").write_text("damaged")
    assert results.path_for(tmp_path, "val-7", others) == tmp_path / "val-7-3.json"


def test_table_has_a_row_a_class_and_marks_the_best():
    console = rich.console.Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(results.to_table(CONFUSIONS, CLASSES, "title"))
    text = capture.get()
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "\x1b[1m88.9" in rows["road"]  # bold
    assert "75.0" in rows["road"]
    assert "\x1b[1m75.0" not in rows["road"]
    assert rows["fence"].count(" - ") == 2
    assert "62.5" in rows["mean IoU"]


@pytest.mark.parametrize("name", ["[road]", "a [/b]", "<b>", 'it\'s "x"', ":car:", "\\[x]"])
def test_every_table_shows_names_of_classes_as_they_are(name):
    label_spec = LabelSpec.of_train_ids((name, "other"), ((0, 0, 0), (1, 1, 1)))
    tables = [
        results.to_table(
            {"single (1)": np.eye(2, dtype=int)}, label_spec.names, "folder/train[:10%]"
        ),
        summary_lib.to_table(summary_lib.summarize([], label_spec.names)),
        check_data.to_table(label_spec.names, check_data.Statistics(label_spec)),
    ]
    for table in tables:
        with console.capture() as capture:
            console.print(table)
        assert f"│ {name} " in capture.get()
