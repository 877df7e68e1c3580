"""Several processes that run one command together, each with two simulated devices."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import time
import types

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import SingleDeviceSharding

from hmsa_jax.distributed import coordination, hosts, joining, launchers, sharding
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import store
from hmsa_jax.runtime.paths import any_path
from tests import bucket, event_files
from tests.processes import Running

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 16
SETTINGS = {
    "steps": STEPS,
    "log_every": 1,
    "data.name": "camvid",
    "data.batch_size": 8,
    "data.crop_size": (64, 64),
    "data.scale_range": (0.5, 2.0),
    "model.trunk": "short",
    "model.attention": "none",
    "model.ocr_channels": 16,
    "model.ocr_key_channels": 8,
    "model.head_channels": 8,
    "model.dropout": 0.5,
    "objective.scales": (1.0,),
    "optimizer.learning_rate": 1e-6,  # with more, rounding errors soon grow tenfold a step
    "evaluate.protocols": ("single",),
}
HOST = socket.gethostname()


@pytest.fixture(scope="module")
def start(camvid_tree, tmp_path_factory):
    """Starts a command with the settings above in one or several processes."""
    scratch = tmp_path_factory.mktemp("hosts")
    environment = dict(os.environ, JAX_COMPILATION_CACHE_DIR=str(scratch / "compiled"))
    settings = SETTINGS | {"data.dir": str(camvid_tree), "data.cache_dir": str(scratch / "data")}
    started = []

    def start(
        verb,
        workdir,
        *flags,
        processes,
        devices,
        second=None,
        last=(),
        module="short_network",
    ):
        overrides = [f"--config.{name}={value}" for name, value in settings.items()]
        overrides += last
        if verb == "train" and processes == 1:
            overrides.append("--nopage")
        arguments = ["-m", f"tests.{module}", verb, f"--workdir={workdir}", *flags, *overrides]
        changed = [f"--config.{second}"] if second else []
        started.append(Running(arguments, environment, processes, devices, changed))
        return started[-1]

    yield start
    for running in started:
        running.clean_up()


@pytest.fixture(scope="module")
def run(start):
    """Runs a command to its good end; returns the outputs."""

    def run(*arguments, **options):
        statuses, outputs = start(*arguments, **options).finish()
        assert not any(statuses), outputs
        return outputs

    return run


@pytest.fixture(scope="module")
def of_one(run, tmp_path_factory):
    """A run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("one") / "run"
    run("train", workdir, processes=1, devices=4)
    return workdir


@pytest.fixture(scope="module")
def of_two(run, tmp_path_factory):
    """The same run, evaluated once more, in two processes with two devices each; what they said."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    twice = f"--config.evaluate.every={STEPS // 2}"
    return workdir, run("train", workdir, processes=2, devices=2, last=(twice,))


def figures(workdir, name="loss"):
    """A figure on record, by step."""
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    found = {row["step"]: row[name] for row in rows if name in row}
    assert len(found) == sum(name in row for row in rows)
    return found


def confusion(workdir):
    result = json.loads((workdir / "evaluation" / f"validation-{STEPS}.json").read_text())
    return np.array(result["protocols"]["single (1)"]["confusion"])


def saved_arrays(workdir):
    """All arrays of the last checkpoint, on one device, whatever devices saved them."""
    path = workdir / "checkpoints" / str(STEPS) / "default"
    here = SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as reader:
        stored = reader.metadata(path).item_metadata.tree
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), stored)
        return ocp.tree.to_flat_dict(reader.restore(path, like))


def test_two_processes_train_as_one_does(of_one, of_two):
    workdir, (first, second) = of_two
    for name, tolerance in (("loss", 1e-5), ("grad_norm", 1e-3)):
        ours, theirs = figures(workdir, name), figures(of_one, name)
        assert list(ours) == list(theirs) == list(range(1, STEPS + 1))
        five = range(1, 6)
        np.testing.assert_allclose(
            [ours[i] for i in five], [theirs[i] for i in five], rtol=tolerance
        )
    total = 5 * 64 * (96 - 4)
    assert confusion(workdir).sum() == confusion(of_one).sum() == total
    assert np.abs(confusion(workdir) - confusion(of_one)).sum() < 0.01 * total
    assert "2 processes with 4 devices." in first
    assert "mean IoU" in first
    assert "loss" not in second
    assert "mean IoU" not in second
    assert f"The page of run: {workdir}/report.html" in first
    assert f"report --workdir={workdir}` adds images." in first
    assert "report" not in second
    assert len(list((workdir / "tensorboard").glob("events.*"))) == 1
    assert [step for step, _ in event_files.pictures(workdir)] == [STEPS // 2] * 4 + [STEPS] * 4
    assert not list(workdir.rglob("*.partial"))


def stop(running, workdir):
    """Sends a signal to the last process as soon as steps are on record; returns the outputs."""
    while len(figures(workdir)) < 2 and all(p.poll() is None for p in running.processes):
        time.sleep(0.01)
    running.processes[-1].send_signal(signal.SIGTERM)
    statuses, outputs = running.finish()
    assert not any(statuses), outputs
    stopped_at = max(figures(workdir))
    assert 2 <= stopped_at < STEPS
    assert f"Stopped at step {stopped_at}" in outputs[0]
    assert [path.name for path in (workdir / "checkpoints").iterdir()] == [str(stopped_at)]
    return stopped_at


def test_a_signal_to_one_process_stops_both(start, run, of_two, tmp_path):
    """Both save the same step and end well; the same command goes on to the same bits.

    Also where it comes in an evaluation. Or a single process goes on from there.
    """
    reference, _ = of_two
    workdir, alone = tmp_path / "run", tmp_path / "alone"
    stopped_at = stop(start("train", workdir, processes=2, devices=2), workdir)
    shutil.copytree(workdir, alone)

    evaluated = (
        "--config.evaluate.every=15",
        "--config.evaluate.images_per_device=1",  # three batches: the processes agree on the last
        "--config.data.eval_split=train+validation+test",
    )
    options = {"processes": 2, "devices": 2}
    first, _ = run("train", workdir, *evaluated, module="signalled_network", **options)
    assert f"Resuming at step {stopped_at}" in first
    assert f"Stopped at step 15, saved in {workdir}. The same command goes on, with the ev" in first
    assert not figures(workdir, "mean_iou/single (1)")
    first, _ = run("train", workdir, *evaluated, **options)
    assert "Resuming at step 15" in first
    assert list(figures(workdir, "mean_iou/single (1)")) == [15, STEPS]
    assert figures(workdir) == figures(reference)
    ours, theirs = saved_arrays(workdir), saved_arrays(reference)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 100
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=str(name))

    (output,) = run("train", alone, processes=1, devices=4)
    assert f"Resuming at step {stopped_at}" in output
    assert_equal_losses(alone, reference)


def test_two_processes_share_a_bucket_and_no_disk(storage_server, start, of_two, tmp_path):
    """The data set, which one of them builds, and the run lie there."""
    remote, (reference, _) = any_path(f"{bucket.make('hosts')}/run", "--workdir"), of_two
    cache = f"--config.data.cache_dir={bucket.make('hosts-data')}"
    running = start("train", remote, processes=2, devices=2, last=(cache,))
    statuses, outputs = running.finish()
    assert not any(statuses), outputs
    assert sum("Reading camvid train" in output for output in outputs) == 1
    copy = tmp_path / "run"
    for name in storage.files_below(remote):
        store(copy / name, storage.read(remote / name))
    for name in ("loss", "grad_norm"):
        assert figures(copy, name) == figures(reference, name)
    ours, theirs = saved_arrays(copy), saved_arrays(reference)
    assert ours.keys() == theirs.keys()
    assert all((value == theirs[name]).all() for name, value in ours.items())
    np.testing.assert_array_equal(confusion(copy), confusion(reference))


def test_two_processes_go_on_where_one_stopped(start, run, of_one, tmp_path):
    workdir = tmp_path / "run"
    stopped_at = stop(start("train", workdir, processes=1, devices=4), workdir)
    first, _ = run("train", workdir, processes=2, devices=2)
    assert f"Resuming at step {stopped_at}" in first
    assert_equal_losses(workdir, of_one)


def assert_equal_losses(workdir, reference):
    ours, theirs = figures(workdir), figures(reference)
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-3)


def test_two_processes_evaluate_as_one_does(run, of_one, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(of_one, workdir)
    shutil.rmtree(workdir / "evaluation")
    run("evaluate", workdir, processes=2, devices=2)
    np.testing.assert_array_equal(confusion(workdir), confusion(of_one))


@pytest.mark.parametrize("threshold", ["0.2", "60%"])
def test_two_processes_label_as_one_does(run, of_one, camvid_tree, tmp_path, threshold):
    images = f"--images={camvid_tree / 'images' / 'val'}"
    options = (images, f"--threshold={threshold}", "--protocol=single", "--noflip")
    alone, together = tmp_path / "alone", tmp_path / "together"
    for processes, out in enumerate((alone, together), start=1):
        run("autolabel", of_one, f"--out={out}", *options, processes=processes, devices=2)
    names = sorted(path.relative_to(alone) for path in alone.rglob("*.png"))
    assert len(names) == 2 * 5
    for name in names:
        assert (together / name).read_bytes() == (alone / name).read_bytes()
    assert (together / "report.json").read_text() == (alone / "report.json").read_text()
    counts = [len(path.read_text().splitlines()) for path in together.glob("labelled-*.jsonl")]
    assert sorted(counts) == [2, 3]


def test_rows_go_to_the_devices_of_their_process(tmp_path):
    """A batch whose rows are shared out, too, and the refusal to share them among processes."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        """
import jax, numpy as np
from hmsa_jax.distributed import joining, sharding
from hmsa_jax.input.pipeline import local_rows
images = np.arange(4 * 8 * 6 * 3, dtype=np.uint8).reshape(4, 8, 6, 3)
with joining.joined(sys.argv[1].removeprefix("--distributed=")):
    mine = images[local_rows(4, jax.process_index(), 2)]
    mesh = sharding.make_mesh(-1, 2)
    with jax.transfer_guard("disallow"):
        shardings = sharding.training_batch(mesh)
        batch = sharding.put_batch({"image": mine, "label": mine[..., 0]}, shardings)
    for name, whole in (("image", images), ("label", images[..., 0])):
        assert batch[name].shape == whole.shape
        for shard in batch[name].addressable_shards:
            assert shard.data.shape[:2] == (2, 4)
            np.testing.assert_array_equal(shard.data, whole[shard.index])
    sharding.make_mesh(1, 4)
"""
    )
    running = Running([script], dict(os.environ), 2, 2)
    statuses, outputs = running.finish()
    running.clean_up()
    assert statuses == [1, 1]
    for output in outputs:
        assert "mesh.spatial is 4, but the rows of an image are shared out among" in output


def test_the_private_names_of_jax_are_as_they_were():
    """`coordination` uses these, of no public interface."""
    tried = ("0.10.2", "0.12.0", "0.12.0.1")
    assert coordination.client() is None
    client = jax._src.lib._jax.DistributedRuntimeClient
    names = ("key_value_set", "key_value_dir_get", "wait_at_barrier")
    missing = [name for name in names if not hasattr(client, name)]
    assert not missing, f"jax {jax.__version__} has others; these were tried: {', '.join(tried)}"
    assert {cluster.name for cluster in coordination.cluster_types()} >= set(launchers.TITLES)


# What is refused.


def test_rows_of_an_image_on_several_hosts():
    devices = [types.SimpleNamespace(process_index=i // 4, platform="tpu") for i in range(8)]
    with pytest.raises(ValueError, match=r"mesh.spatial is 8, .* which has 4; expected a divisor"):
        sharding.make_mesh(1, 8, devices)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("on", "expected off, auto, or HOST:PORT,COUNT,INDEX"),
        ("localhost,2,0", "expected off, auto, or HOST:PORT,COUNT,INDEX"),
        ("localhost:1,2,2", "INDEX is 2; expected 0 to COUNT - 1"),
        ("localhost:1,2,1", "names localhost:1, where no process listens: .*refused"),
        ("localhost:1,2,0", "JAX"),  # this process has asked for its devices
    ],
)
def test_what_names_no_other_processes(how, problem, monkeypatch):
    jax.devices()
    monkeypatch.setattr(joining, "_PATIENCE", 0.1)
    with pytest.raises(ValueError, match=f"--distributed.*{problem}"), joining.joined(how):
        pass


def test_a_port_that_is_taken():
    with contextlib.closing(socket.create_server(("localhost", 0))) as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(ValueError, match=f"names port {port}, which is not free here")
        with refused, joining.joined(f"localhost:{port},2,0"):
            pass


def test_a_command_that_takes_one_process(start, tmp_path):
    running = start("convert", tmp_path, "--to=a.pth", processes=2, devices=2)
    statuses, outputs = running.finish()
    assert all(statuses)
    assert "convert takes no --distributed" in outputs[0]


def test_both_processes_fail_alike(start, of_one):
    """Each leaves by itself, and one says why."""
    flags = ("--step=1",)
    statuses, outputs = start("evaluate", of_one, *flags, processes=2, devices=2).finish()
    assert statuses == [1, 1]
    assert "--step is 1, but" in outputs[0]
    assert "--step" not in outputs[1]


def test_free_fields_that_differ_end_both(start, tmp_path):
    """They have no part in the result, but decide which programs run, and how often."""
    running = start("train", tmp_path / "run", processes=2, devices=2, second="checkpoint.every=7")
    statuses, outputs = running.finish()
    assert statuses == [1, 1]
    for output in outputs:
        assert f"checkpoint.every: 200 in process 0 ({HOST}); 7 in process 1 ({HOST})" in output
        assert "checkpoint.keep" not in output
    assert not (tmp_path / "run").exists()


def test_disagreements_are_listed_with_their_processes():
    facts = [{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2", "c": "x"}]
    names = {0: "here", 2: "there"}
    assert hosts.disagreements(facts, names) == [
        "b: 2 in processes 0 (here), 2 (there); 3 in process 1",
        "c: missing in processes 0 (here), 1; x in process 2 (there)",
    ]
    assert hosts.disagreements(facts[:1] * 3, names) == []
