"""The command that makes the page of a run, beside what the run itself says."""

import base64
import dataclasses
import html
import io
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

import hmsa_jax
import main
from configs import street_scenes
from data import registry
from hmsa_jax.commands import command_line, config_file
from hmsa_jax.commands import report as report_command
from hmsa_jax.config import schema
from hmsa_jax.experiment import evaluation, experiment, report, run_directory, run_facts
from hmsa_jax.input import decoding
from hmsa_jax.report import count_file
from hmsa_jax.report.page import thumbnail
from hmsa_jax.training import checkpoint

pytestmark = pytest.mark.usefixtures("short_trunk")

PROTOCOL = "hierarchical (0.5, 1)"


def a_config(tree, cache):
    config = street_scenes.get_config()
    config.model.trunk = "short"
    config.model.ocr_channels, config.model.ocr_key_channels = 16, 8
    config.model.head_channels = 8
    config.data.name, config.data.dir, config.data.cache_dir = "camvid", str(tree), str(cache)
    config.evaluate.images_per_device = 1
    config.evaluate.metrics = ("calibration",)
    config.evaluate.protocols = ("single", "hierarchical:0.5,1")
    return config


@pytest.fixture(scope="module")
def runs(camvid_tree, tmp_path_factory):
    """Two runs of the same weights, of which one is scored at a later step."""
    root = tmp_path_factory.mktemp("runs")
    config = a_config(camvid_tree, root / "data")
    assembled = experiment.assemble(config)
    for name, step in (("a [red] <run>", 3), ("other", 4)):
        run_directory.claim(root / name, config, assembled.label_spec)
        with checkpoint.Checkpoints(root / name, keep=1) as checkpoints:
            state = assembled.initial_state()
            checkpoints.save(dataclasses.replace(state, step=state.step + step), step)
    evaluation.evaluate(config, root / "a [red] <run>")
    shutil.copytree(root / "a [red] <run>" / "evaluation", root / "other" / "evaluation")
    (root / "other" / "evaluation" / "validation-3.json").unlink()
    counts = root / "other" / "evaluation" / "validation-3.npz"
    origin, kind = count_file.Origin("camvid/validation", 4), count_file.read_kind(counts)
    count_file.write(counts.with_name("validation-4.npz"), origin, count_file.read(counts), kind)
    counts.unlink()
    return root / "a [red] <run>", root / "other"


def run(*arguments):
    main.main(["report", *map(str, arguments)])


def error_of(capsys, *arguments, status=1):
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    assert end.value.code == status
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def cards(text):
    """Of each card its name, and its pictures by caption, in the order of the page."""
    found = []
    for card in text.split('<li class="card"')[1:]:
        name = html.unescape(re.search("<h3>(.*?)</h3>", card)[1])
        sources = re.findall(r'<img src="data:image/webp;base64,([^"]*)"', card)
        captions = re.findall('<span class="caption">(.*?)</span>', card)
        pictures = {
            caption: np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGB"))
            for caption, source in zip(captions, sources, strict=True)
        }
        found.append((name, pictures))
    return found


def test_the_page_shows_the_worst_images_as_the_run_predicts_them(runs, capsys):
    run(f"--workdir={runs[0]}", "--images=2")
    out = capsys.readouterr().out
    page = runs[0] / "report.html"
    assert f"The page of {runs[0].name}: {page}" in " ".join(out.split())
    text = page.read_text()
    scores = json.loads((runs[0] / "evaluation" / "validation-3.json").read_text())
    worst = [score["image"] for score in scores["protocols"][PROTOCOL]["images"][:2]]
    assert [name for name, _ in cards(text)] == worst
    opened = hmsa_jax.load_run(runs[0])
    data = opened.config.data
    builder = registry.prepare(data.name, data.dir, data.cache_dir)
    source = registry.open_source(builder, "validation")
    by_id = {source[i]["id"]: decoding.decode(source[i]) for i in range(len(source))}
    palette = np.array([*opened.label_spec.palette, *[(0, 0, 0)] * 256], np.uint8)
    for name, pictures in cards(text):
        image, label = by_id[name]
        predicted = opened.predict(image, protocol="hierarchical:0.5,1", flip=False)
        same = (pictures["prediction"] == palette[predicted]).all(-1).mean()
        assert same > 0.999
        np.testing.assert_array_equal(pictures["label"][label < 11], palette[label[label < 11]])
        wrong = (predicted != label) & (label < 11)
        red = (pictures["errors"] == thumbnail._WRONG).all(-1)
        assert (wrong == red).mean() > 0.999
        assert [*pictures] == [
            "image", "label", "prediction", "errors",
            "prediction of scale 0.5", "share of scale 0.5 (attention)",
            "prediction of scale 1", "share of scale 1 (attention)",
        ]  # fmt: skip
        halves = [pictures[f"share of scale {s} (attention)"].mean() for s in ("0.5", "1")]
        assert sum(halves) == pytest.approx(255, abs=6)
    assert "These are the 2 images with the lowest mean IoU, of the 5 that were scored." in text
    assert re.search(r"step \d+ on camvid/validation; flip no; fusion resolution ", text)
    assert 'id="scales"' in text
    assert 'id="calibration"' in text


def test_runs_stand_side_by_side(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    run(*(f"--workdir={path}" for path in runs), f"--out={out}", "--protocol=single")
    (_, pictures), *others = cards(out.read_text())
    assert len(others) == 4
    first, second = (html.escape(path.name) for path in runs)
    assert [*pictures] == [
        "image",
        "label",
        *(f"{name}: {what}" for name in (first, second) for what in ("prediction", "errors")),
    ]
    np.testing.assert_array_equal(
        pictures[f"{first}: prediction"], pictures[f"{second}: prediction"]
    )
    assert ">+0.0<" in out.read_text()


def test_the_evaluation_is_that_of_the_step(runs, tmp_path, capsys):
    own = tmp_path / "own"
    shutil.copytree(runs[0], own)
    counts = own / "evaluation" / "validation-3.npz"
    confusions, kind = count_file.read(counts), count_file.read_kind(counts)
    later = dataclasses.replace(confusions, counts=np.roll(confusions.counts, 1, -1))
    origin = count_file.Origin("camvid/validation", 9)
    count_file.write(counts.with_name("validation-9.npz"), origin, later, kind | {"step": 9})
    page = tmp_path / "page.html"
    for flags, step in (((), 9), (("--step=3",), 3), (("--step=9",), 9)):
        run(f"--workdir={own}", "--images=0", f"--out={page}", *flags)
        assert f"step {step} on camvid/validation;" in page.read_text()
    assert "has no counts at step 4 (.npz), but of" in error_of(
        capsys, f"--workdir={own}", "--step=4"
    )
    assert "has no best checkpoint on record" in error_of(capsys, f"--workdir={own}", "--step=best")


def test_without_the_data_set_the_page_has_no_images(runs, tmp_path, capsys):
    out = tmp_path / "page.html"
    gone = f"--config.data.dir={tmp_path}/gone"
    run(f"--workdir={runs[0]}", f"--out={out}", gone)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("No images"))
    assert f"No images are shown: data.dir is '{tmp_path}/gone', expected an existing" in line
    assert html.escape(line, quote=True).replace("&#x27;", "&#39;") in out.read_text()
    assert not cards(out.read_text())
    assert 'id="scores"' in out.read_text()


def test_another_data_set_is_not_shown(runs, camvid_tree, tmp_path, capsys):
    tree = shutil.copytree(camvid_tree, tmp_path / "tree")
    label = tree / "labels" / "val" / "val0.png"
    Image.fromarray(np.full((64, 96), 3, np.uint8)).save(label)
    out = tmp_path / "page.html"
    run(f"--workdir={runs[0]}", f"--out={out}", f"--config.data.dir={tree}")
    assert "the label of val0 is not the one that was scored." in capsys.readouterr().out
    assert not cards(out.read_text())


def test_other_weights_are_not_shown(runs, tmp_path, capsys):
    other = shutil.copytree(runs[0], tmp_path / "run")
    counts = other / "evaluation" / "validation-3.npz"
    kind = count_file.read_kind(counts) | {"weights": "0" * 32}
    count_file.write(counts, count_file.read_origin(counts), count_file.read(counts), kind)
    run(f"--workdir={other}", "--protocol=single")
    assert f"checkpoint of step 3 in {other} holds other weights" in capsys.readouterr().out
    assert not cards((other / "report.html").read_text())


def test_a_run_without_scores_has_a_page(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "run", ignore=shutil.ignore_patterns("evaluation"))
    run(f"--workdir={tmp_path / 'run'}")
    assert "There is no evaluation yet" in (tmp_path / "run" / "report.html").read_text()
    message = error_of(capsys, f"--workdir={tmp_path / 'run'}", "--protocol=single")
    assert "--protocol is single, but there is no evaluation" in message


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (("--workdir=/nowhere",), 1, "--workdir is /nowhere, which holds no config.json"),
        (("--workdir=A", "--workdir=B"), 2, "report of several runs needs --out=FILE"),
        (("--workdir=A", "--config=b.py"), 2, "report takes no --config; did you mean"),
        (("--workdir=A", "--images=-1"), 2, "--images is -1; expected 0 or more"),
        ((), 2, "report needs --workdir=DIR"),
        (("--workdir=RUN", "--workdir=RUN/", "--out=p"), 1, "twice"),
        (("--workdir=RUN", "--out=RUN"), 1, "a directory; name a file"),
        (("--workdir=RUN", "--out=RUN/config.json/p"), 1, "no directory that may be written"),
        (("--workdir=RUN", "--protocol=max:1,2"), 1, "name one of: single (1), hierarchical"),
        (("--workdir=RUN", "--split=test"), 1, "has no counts of test (.npz)"),
    ],
)
def test_what_cannot_be_shown_is_refused(runs, capsys, flags, status, message):
    typed = [flag.replace("RUN", str(runs[0])) for flag in flags]
    assert message in error_of(capsys, *typed, status=status)


def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path, capsys):
    other = shutil.copytree(runs[1], tmp_path / "run")
    path = other / "evaluation" / "validation-4.npz"
    counts, origin = count_file.read(path), count_file.read_origin(path)
    images = (*counts.images[:-1], "another")
    others = type(counts)(images, counts.protocols, counts.classes, counts.counts)
    count_file.write(path, origin, others, {})
    two = (f"--workdir={runs[0]}", f"--workdir={other}", f"--out={tmp_path / 'p.html'}")
    assert "have different images (another" in error_of(capsys, *two)
    assert not (tmp_path / "p.html").exists()


def test_the_command_trains_the_same(runs):
    first = config_file.load(config_file.DEFAULT)
    config = run_directory.read_config(runs[0])
    config.evaluate.every = "0.5 epochs"
    config.optimizer.frozen = ("trunk", "a b*")
    typed = shlex.split(run_facts.command(runs[0], config, first))
    assert typed[:4] == ["python", "main.py", "train", f"--workdir={runs[0]}"]
    options = command_line.parse("train", main._load("train"), typed[3:])
    again = schema.override(config_file.load(config_file.DEFAULT), options.overrides)
    assert again.to_dict() == config.to_dict()


def test_a_training_ends_well_without_a_page(runs, tmp_path, capsys, monkeypatch):
    (directory := tmp_path / "run").mkdir()
    report.after_training(directory, street_scenes.get_config)
    line = capsys.readouterr().out
    assert "The run has no page (FileNotFoundError: --workdir is" in line
    assert f"`python main.py report --workdir={directory}` makes it." in line
    for error, words in ((MemoryError("full"), "MemoryError: full"), (KeyboardInterrupt("x"), "x")):

        def fails(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(report, "report", fails)
        report.after_training(directory, street_scenes.get_config)
        assert words in capsys.readouterr().out
    report.after_training(directory, lambda: config_file.load("/no/such/file.py"))
    assert "no such file" in capsys.readouterr().out


def test_a_page_is_made_once_for_an_evaluation(runs, tmp_path, capsys, monkeypatch):
    directory = shutil.copytree(runs[0], tmp_path / "run")
    (directory / "report.html").unlink(missing_ok=True)
    made = []
    monkeypatch.setattr(report, "report", lambda *_, **options: made.append(options))
    report.after_training(directory, street_scenes.get_config)
    (directory / "report.html").touch()
    report.after_training(directory, street_scenes.get_config)
    assert len(made) == 1
    assert made[0]["images"] == report.IMAGES
    assert f"The page of the run: {directory}/report.html" in capsys.readouterr().out


def test_as_many_images_as_the_help_says():
    (flag,) = (flag for flag in report_command.COMMAND.flags if flag.name == "images")
    assert flag.default == report.IMAGES
