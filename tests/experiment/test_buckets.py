"""Runs, results, pictures and built data sets in a bucket: all is as on this machine."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import hmsa_jax
import main
from hmsa_jax.runtime import leases, storage
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.training import checkpoint, checkpoint_reading
from tests import bucket

pytestmark = pytest.mark.usefixtures("short_trunk")

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 6
SETTINGS = {
    "steps": STEPS,
    "log_every": 1,
    "data.name": "camvid",
    "data.batch_size": 8,
    "data.crop_size": (32, 32),
    "data.class_uniform_share": 0.5,
    **dict.fromkeys(("augment.brightness", "augment.contrast", "augment.saturation"), 0.0),
    **{"augment.hue": 0.0, "augment.blur": False},
    "model.trunk": "short",
    "model.attention": "none",
    "model.dtype": "float32",
    "model.ocr_channels": 16,
    "model.ocr_key_channels": 8,
    "model.head_channels": 8,
    "objective.scales": (1.0,),
    "objective.main_loss": "cross_entropy",
    "checkpoint.every": 2,
    "profile": f"{STEPS}:{STEPS}",
    "checkpoint.keep": 2,
    "evaluate.protocols": ("single",),
    "evaluate.metrics": (),
    "evaluate.every": 2,
    "checkpoint.keep_best": "single",
}
# Ends as one does whose machine goes away: while a checkpoint is written.
KILLED = f"""
import os, signal
import main
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.training import checkpoint
from tests import short_network
save = checkpoint.Checkpoints.save
def killed(self, state, step):
    save(self, state, step)
    if step == {STEPS - 2}:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoints.save = killed
TRUNKS.register("short", short_network.TRUNK)
main.start()
"""


def typed(verb, *flags, **changes):
    settings = SETTINGS | {name.replace("__", "."): value for name, value in changes.items()}
    return [verb, *flags, *(f"--config.{name}={value}" for name, value in settings.items())]


@pytest.fixture(scope="module")
def photos(camvid_tree, new_bucket):
    """The same pictures here and in a bucket."""
    here, there = camvid_tree / "images", f"{new_bucket}/photos"
    for path in here.rglob("*.jpg"):
        bucket.client().put_file(str(path), f"{there}/{path.relative_to(here)}")
    bucket.client().pipe_file(f"{there}/notes.txt", b"no picture")
    return here, there


@pytest.fixture(scope="module")
def runs(camvid_tree, new_bucket, short_trunk, tmp_path_factory):
    """A run here; and one in a bucket that was killed and went on, of the data set built there."""
    scratch = tmp_path_factory.mktemp("runs")
    local, remote = scratch / "run", any_path(f"{new_bucket}/run", "--workdir")
    source = {"data__dir": camvid_tree, "data__cache_dir": scratch / "data"}
    main.main(typed("train", f"--workdir={local}", "--nopage", **source))

    copy = shutil.copytree(camvid_tree, scratch / "copy")
    built = {"data__dir": copy, "data__encoding": "stored"}  # which trains the same
    main.main(typed("build-data", f"--out={new_bucket}/data", **built))
    shutil.rmtree(copy)
    train = typed("train", f"--workdir={remote}", "--nopage", data__cache_dir=f"{new_bucket}/data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "SECONDS_UNTIL_STALE", 1)
        killed = subprocess.run([sys.executable, "-c", KILLED, *train], cwd=ROOT)
        assert killed.returncode == -9
        assert checkpoint_reading.steps_in(remote / "checkpoints")[:1] == [STEPS - 4]
        main.main(train)
    return local, remote


def lines(run):
    rows = map(json.loads, storage.read(run / "metrics.jsonl").splitlines())
    timed = ("time/", "images_per_second", "flops_per_second")
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in rows]


def record(run):
    """What training.json holds, without the time."""
    return {**json.loads(storage.read(run / "training.json")), "began": None}


def content(directory, *left_out):
    """The bytes of all files, by path."""
    return {
        name: storage.read(directory / name)
        for name in storage.files_below(directory)
        if not name.startswith(("lock", *left_out))
    }


def test_a_run_in_a_bucket_is_bit_for_bit_that_of_this_machine(runs):
    local, remote = runs
    assert checkpoint_reading.steps_in(remote / "checkpoints") == [STEPS - 2, STEPS]
    digests = f"checkpoints/{STEPS}/digests/metadata"
    assert storage.read(remote / digests) == (local / digests).read_bytes()
    trained = [row["step"] for row in lines(remote) if "loss" in row]
    assert trained == list(range(1, STEPS + 1))
    assert lines(remote) == lines(local)
    assert record(remote) == record(local)
    assert content(remote / "evaluation").keys() == content(local / "evaluation").keys()
    scores = (f"evaluation/validation-{STEPS}.json", "evaluation/mean_iou.svg")
    for name in (*scores, "classes.json"):
        assert storage.read(remote / name) == (local / name).read_bytes()
    assert any(name.startswith("events.") for name in storage.names(remote / "tensorboard"))
    assert b"Resuming at step" in storage.read(remote / "logs" / "host-0.log")
    traces = [storage.files_below(run / "profile") for run in runs]
    assert len(traces[0]) == len(traces[1]) > 0


def test_a_run_keeps_the_digest_of_the_data_set_that_was_built(runs, new_bucket, capsys):
    _, remote = runs
    config = json.loads(storage.read(remote / "config.json"))
    assert config["data.dir"] == ""
    assert len(config["data.built"]) == 16
    assert config["data.cache_dir"] == f"{new_bucket}/data"
    kept = storage.files_below(any_path(f"{new_bucket}/data", "-"))
    assert [name for name in kept if name.endswith(".npz")]  # centroids were found by build-data
    before = storage.read(remote / "evaluation" / f"validation-{STEPS}.json")
    main.main(["evaluate", f"--workdir={remote}", "--step=best"])
    assert storage.read(remote / "evaluation" / f"validation-{STEPS}.json") == before
    with pytest.raises(SystemExit):
        main.main(["evaluate", f"--workdir={remote}", "--config.data.built=abc"])
    output = " ".join(capsys.readouterr().out.split())
    assert "holds none with data.built=abc: pass --config.data.dir=DIR" in output
    assert f"{config['data.built']}: from " in output


def test_pictures_are_predicted_and_labelled_alike(runs, photos, new_bucket, tmp_path, capsys):
    for verb, flags in (
        ("predict", ("--save=mask,overlay", "--protocol=single")),
        ("autolabel", ("--previews", "--protocol=single")),
    ):
        outs = tmp_path / verb, any_path(f"{new_bucket}/{verb}", "--out")
        for run, images, out in zip(runs, photos, outs, strict=True):
            main.main([verb, f"--workdir={run}", f"--images={images}", f"--out={out}", *flags])
        here, there = (content(out, f"{verb}.json") for out in outs)
        assert len(here) > 24
        assert there == here
        assert "notes.txt" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main([verb, f"--workdir={runs[1]}", f"--images={photos[1]}", f"--out={outs[1]}"])
    assert "protocol: 'single (1)' there" in capsys.readouterr().out
    pattern, some = f"{photos[1]}/**/val[12].jpg", any_path(f"{new_bucket}/some", "--out")
    command = ["predict", f"--workdir={runs[0]}", f"--images={pattern}", f"--out={some}"]
    main.main([*command, "--protocol=single"])
    assert storage.files_below(some / "masks") == ["val/val1.png", "val/val2.png"]
    done = storage.read(some / "predicted-00000.jsonl")
    main.main([*command, "--protocol=single"])  # nothing is left to do
    assert storage.read(some / "predicted-00000.jsonl") == done


def test_a_run_is_opened_from_python_and_compared(runs, capsys):
    local, remote = runs
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    ours, theirs = (
        hmsa_jax.load_run(run).predict(image, protocol="single") for run in (local, str(remote))
    )
    assert (ours == theirs).all()
    main.main(["compare", f"--workdir={local}", f"--other={remote}"])
    assert "+0.0 to +0.0" in capsys.readouterr().out


def test_later_checkpoints_are_set_aside(runs):
    _, remote = runs
    checkpoint.set_later_aside(remote, STEPS - 2)
    assert checkpoint_reading.steps_in(remote / "checkpoints") == [STEPS - 2]
    aside = remote / "checkpoints" / "set_aside"
    assert checkpoint_reading.steps_in(aside) == [STEPS]
    tree, _ = checkpoint_reading.read_step(aside, STEPS)
    assert set(tree) >= {"params", "step"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--workdir=s3://b/run"), "--workdir is s3://b/run: s3:// is not supported"),
        (("train", "--workdir=gs://none-such/run"), "--workdir is gs://none-such/run, where"),
        (("convert", "--workdir=RUN", "--to=gs://b/a.pth"), "--to is gs://b/a.pth: only a path"),
        (("backends", "--out=gs://bucket/o"), "--out is gs://bucket/o: only a path of this"),
        (("train", "--workdir=RUN", "--config=gs://b/a.py"), "--config is gs://b/a.py: only a"),
        (("check-data", "--config.data.dir=gs://bucket/d"), "data.dir is gs://bucket/d: only a"),
    ],
)
def test_what_does_not_work_is_told_in_a_line(storage_server, arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as left:
        main.main([argument.replace("RUN", str(tmp_path / "run")) for argument in arguments])
    assert left.value.code == 1
    output = capsys.readouterr().out
    assert message in output
    assert "Traceback" not in output
