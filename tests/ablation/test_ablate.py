"""The command `ablate` as a user runs it: one device, a process of its own, a short network."""

import copy
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import main
from configs.ablation import street_scenes
from hmsa_jax.ablation import ablate, controls, runs
from hmsa_jax.config import schema
from tests import quick_compilation

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = {
    "steps": 2,
    "data.name": "camvid",
    "data.batch_size": 2,
    "data.crop_size": (64, 64),
    "data.pool.name": "camvid",
    "model.trunk": "short",
    "model.ocr_channels": 8,
    "model.ocr_key_channels": 4,
    "model.head_channels": 4,
    "evaluate.images_per_device": 1,
}
AUTO = (
    "--rows=single_auto",
    "--teacher=hierarchical",
    "--seeds=3",
    "--threshold=0.05",
    "--nocosts",
)


@pytest.fixture(scope="module")
def tables(camvid_tree, tmp_path_factory):
    """Gives the command with these flags; returns its status and what it printed."""
    scratch = tmp_path_factory.mktemp("ablate")
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": quick_compilation.FLAGS,
        "COLUMNS": "200",
    }
    pool = scratch / "pool"
    shutil.copytree(camvid_tree, pool)
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        (pool / kind / "train" / f"train0.{suffix}").unlink()
    fields = SETTINGS | {
        "data.dir": str(camvid_tree),
        "data.pool.dir": str(pool),
        "data.cache_dir": str(scratch / "data"),
    }

    def give(*flags):
        command = [sys.executable, "-m", "tests.short_network", "ablate"]
        command.append(f"--workdir={give.place}")
        done = subprocess.run(
            [*command, *flags],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    give.place = scratch / "tables"
    give.fields = [f"--config.{name}={value}" for name, value in fields.items()]
    return give


@pytest.fixture(scope="module")
def first(tables):
    return tables(*AUTO, *tables.fields)


def test_a_student_learns_from_the_labels_of_its_teacher(first, tables):
    status, text = first
    assert status == 0, text
    seed = tables.place / "seed-3"
    student = json.loads((seed / "single_auto" / "config.json").read_text())
    assert student["data.pool.dir"] == str(seed / "labels")
    assert student["seed"] == 3
    labelled = json.loads((seed / "labels" / "report.json").read_text())
    assert labelled["images"] == 5  # the data set itself has 6
    assert {path.name for path in seed.iterdir()} == {"hierarchical", "labels", "single_auto"}


def test_the_tables_have_what_the_runs_reached(first, tables):
    content = json.loads((tables.place / "tables.json").read_text())
    rows = {row["title"]: row for table in content["tables"] for row in table["rows"]}
    scored = json.loads(
        (tables.place / "seed-3" / "single_auto" / "evaluation" / "validation-2.json").read_text()
    )
    mean_iou = scored["protocols"]["average (0.5, 1, 2)"]["mean_iou"]
    assert rows["Auto-labels"]["by_seed"] == {"3": pytest.approx(mean_iou, abs=1e-3)}
    assert rows["Explicit"]["by_seed"] == {}
    assert f"{mean_iou:.1f}" in first[1]
    assert "Auto-labels" in (tables.place / "tables.md").read_text()


def test_the_controls_of_the_attention_are_among_them(first, tables):
    content = json.loads((tables.place / "tables.json").read_text())
    (path,) = (tables.place / "seed-3" / "hierarchical" / "attention").iterdir()
    scored = json.loads(path.read_text())["protocols"]
    assert {name: each["mean_iou"] for name, each in content["controls"].items()} == {
        name: {"3": scores["mean_iou"]} for name, scores in scored.items()
    }


def test_the_same_command_has_nothing_to_do_and_needs_no_config(first, tables):
    before = {path: path.stat().st_mtime_ns for path in tables.place.rglob("evaluation/*")}
    status, text = tables(*AUTO)
    assert status == 0, text
    assert "Compiling" not in text
    assert before == {path: path.stat().st_mtime_ns for path in tables.place.rglob("evaluation/*")}


def test_scores_and_controls_of_another_kind_are_not_taken_for_those_of_the_tables(first, tables):
    """A user may score the runs in other ways; with other settings nothing of these is there."""
    config, run = ablate.read_config(tables.place), tables.place / "seed-3" / "hierarchical"
    (path,) = (run / "attention").iterdir()
    other = path.with_name("validation-2-0.json")
    content = json.loads(path.read_text()) | {"protocol": "hierarchical (0.5, 1)"}
    other.write_text(json.dumps(content | {"protocols": {}}))
    assert controls.on_record(config, tables.place)["oracle"].mean_iou.keys() == {3}
    other.unlink()
    flipped = schema.override(copy.deepcopy(config), {"evaluate.flip": True})
    assert not controls.on_record(flipped, tables.place)
    assert not runs.scores_in(tables.place, flipped).runs
    assert runs.counts_of(run, "hierarchical", config) is not None


def test_tables_older_than_a_field_did_what_was_done_before(tmp_path):
    settings = ablate._settings(street_scenes.get_config(), "hierarchical_coarse", 0.9)
    older = copy.deepcopy(settings)
    del older["config"]["objective.class_weights"]
    (tmp_path / ablate.SETTINGS).write_text(json.dumps(older))
    assert ablate._has_equal(tmp_path, settings)
    settings["config"]["objective.class_weights"] = [1.0] * 11
    with pytest.raises(ValueError, match=r"objective\.class_weights: \[\] there, \[1\.0"):
        ablate._has_equal(tmp_path, settings)


def test_the_page_of_tables_takes_no_flag_of_a_runs_page(first, tables, capsys):
    with pytest.raises(SystemExit):
        main.main(["report", f"--workdir={tables.place}", "--images=3"])
    assert "takes no --images" in " ".join(capsys.readouterr().out.split())


def test_report_makes_the_page_anew(first, tables, capsys):
    page = tables.place / "report.html"
    page.unlink()
    main.main(["report", f"--workdir={tables.place}"])
    assert "Auto-labels" in page.read_text()
    assert str(page) in capsys.readouterr().out


@pytest.mark.usefixtures("short_trunk")
def test_other_tables_are_refused(first, tables):
    config = schema.override(ablate.read_config(tables.place), {"steps": 3})
    with pytest.raises(ValueError, match="belongs to other tables") as error:
        given(config, tables.place, rows=("single",), threshold=0.9)
    assert "steps: 2 there, 3 here" in str(error.value)
    assert "--threshold: 0.05 there, 0.9 here" in str(error.value)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--rows=singel", "'singel' is none; expected some of single, explicit"),
        ("--seeds=one", "'one'; expected whole numbers"),
        ("--teacher=single", "'single' is none; expected hierarchical or hierarchical_coarse"),
        ("--threshold=2", "'2'; expected a number in [0, 1), or a share of each class"),
        ("--threshold=120%", "'120%'; expected a number in [0, 1), or a share of each class"),
        ("--threshold=sure", "'sure'; expected a number in [0, 1), or a share of each class"),
    ],
)
def test_wrong_flags_are_refused(tables, capsys, flag, said):
    with pytest.raises(SystemExit):
        main.main(["ablate", f"--workdir={tables.place}", flag])
    assert said in capsys.readouterr().err


def given(config, workdir, **changes):
    defaults = {"rows": (), "seeds": (0,), "teacher": "hierarchical", "threshold": 0.9}
    return ablate.ablate(config, workdir, measures=False, **defaults | changes)


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path):
    config = street_scenes.get_config()
    pool = {"data.pool.name": "cityscapes_coarse", "data.pool.dir": "elsewhere"}
    schema.override(config, pool | {"data.batch_size": 8})
    with pytest.raises(FileNotFoundError, match=r"data\.pool\.dir is 'elsewhere', expected an"):
        given(config, tmp_path / "tables")
    schema.override(config, {"data.pool.name": "", "data.pool.dir": ""})
    with pytest.raises(ValueError, match="single_auto, which needs coarse images"):
        given(config, tmp_path / "tables", rows=("single", "single_auto"))
    absent = {"data.name": "camvid", "data.cache_dir": str(tmp_path / "cache")}
    with pytest.raises(ValueError, match="camvid is built from a directory"):
        given(schema.override(copy.deepcopy(config), absent), tmp_path / "tables")
    odd = {"data.batch_size": 4}  # of eight devices
    with pytest.raises(ValueError, match=r"data\.batch_size is 4; it must be a multiple of the 8"):
        given(schema.override(copy.deepcopy(config), odd), tmp_path / "tables")
    nowhere = {"init_from": str(tmp_path / "nowhere")}
    with pytest.raises(FileNotFoundError, match=r"nowhere, which holds no checkpoint"):
        given(schema.override(copy.deepcopy(config), nowhere), tmp_path / "tables")
    schema.override(config, {"optimizer.learning_rate": -1.0})
    with pytest.raises(ValueError, match=r"optimizer\.learning_rate is -1\.0"):
        given(config, tmp_path / "tables")
    assert not list(tmp_path.iterdir())


def test_a_damaged_list_of_settings_is_named(tmp_path):
    (tmp_path / ablate.SETTINGS).write_text("{")
    with pytest.raises(ValueError, match=r"ablation\.json is damaged"):
        ablate.read_config(tmp_path)


def test_seeds_are_those_that_have_a_directory(tmp_path):
    for name in ("seed-10", "seed-2", "seed-x", "other"):
        (tmp_path / name).mkdir()
    assert runs.seeds_in(tmp_path) == [2, 10]
