"""What is saved, found damaged, passed over and read, of a state of a few arrays."""

import dataclasses
import os
import pathlib
import re
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.training import checkpoint, checkpoint_reading, integrity, optimizer
from hmsa_jax.training.checkpoint import Checkpoints
from hmsa_jax.training.state import initial_state
from tests.processes import Running

ROOT = pathlib.Path(__file__).parents[2]
SGD = optimizer.sgd(optimizer.poly_schedule(0.1, 1.0, 10), momentum=0.9, weight_decay=0.0)


def a_mesh():
    return sharding.make_mesh(8, 1)


def a_state(mesh, width=300, *, ema=False):
    values = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    return initial_state(
        {"layers": {0: values, 1: values + 1}},
        {"mean": values[0]},
        SGD,
        sharding.replicated(mesh),
        ema=ema,
    )


@pytest.fixture(scope="module")
def state():
    return a_state(sharding.make_mesh(8, 1))


def plus(state, number):
    return jax.tree.map(lambda x: x + x.dtype.type(number), state)


def save(run, state, *steps, keep=5):
    """Checkpoints whose arrays are those of the state plus the step."""
    with Checkpoints(run, keep) as checkpoints:
        for step in steps:
            checkpoints.save(plus(state, step), step)


def of_step(run, step):
    return run / "checkpoints" / str(step)


def assert_is(read, state, step):
    for ours, theirs in zip(*map(jax.tree.leaves, (read, plus(state, step))), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def told(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_restores_exactly_on_another_mesh_and_keeps_the_newest(state, tmp_path):
    save(tmp_path, state, 1, 2, 3, keep=2)
    like = a_state(sharding.make_mesh(2, 1, jax.devices()[:2]))
    restored, step = checkpoint.restore(tmp_path, "--workdir", like)
    assert step == 3
    assert_is(restored, state, 3)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "3"}
    for read, target in zip(*map(jax.tree.leaves, (restored, like)), strict=True):
        assert read.sharding == target.sharding
        assert read.dtype == target.dtype
    assert checkpoint.restore(tmp_path, "--workdir", like, 2)[1] == 2


def test_the_best_and_every_nth_are_kept_besides_the_newest(state, tmp_path):
    def there():
        return checkpoint_reading.steps_in(tmp_path / "checkpoints")

    save(tmp_path, state, 1, 2, 3, keep=3)
    with Checkpoints(tmp_path, keep=1, keep_every=4, others=[1]) as checkpoints:
        checkpoints.keep_best(2)  # of an earlier start
        for step in (4, 5, 6):
            checkpoints.save(plus(state, step), step)
        checkpoints.wait()
        assert there() == [1, 2, 4, 6]
        checkpoints.keep_best(6)
        checkpoints.save(plus(state, 7), 7)
        checkpoints.wait()
        assert there() == [1, 4, 6, 7]
        checkpoints.keep_best(None)
        checkpoints.save(plus(state, 9), 9)
    assert there() == [1, 4, 9]
    assert checkpoint.restore(tmp_path, "--workdir", state)[1] == 9


def test_orbax_keeps_items_where_they_are_read(state, tmp_path):
    """Its documentation does not say where; see `checkpoint_reading._item`."""
    tried = ("0.12.8",)
    save(tmp_path, state, 1)
    found = {path.name for path in of_step(tmp_path, 1).iterdir() if path.is_dir()}
    assert found == {"default", "digests"}, (
        f"orbax {ocp.__version__} keeps them elsewhere; these were tried: {', '.join(tried)}"
    )


def test_what_is_saved_or_restored_can_be_donated(state, tmp_path):
    state = plus(state, 0)
    step = jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(state, 1)
        expected = jax.tree.map(np.array, jax.device_get(plus(state, 0)))
        step(state)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    restored, _ = checkpoint.restore(tmp_path, "--workdir", expected_like(expected))
    assert_is(restored, expected, 0)
    step(restored)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(restored.params))


def expected_like(arrays):
    return jax.device_put(arrays, sharding.replicated(sharding.make_mesh(8, 1)))


def test_averages_are_taken_and_statistics_without_one_as_they_are(tmp_path):
    """In checkpoints of earlier versions parameters alone have a moving average."""
    like = a_state(a_mesh(), ema=True)
    average = dataclasses.replace(
        plus(like, 0),
        ema_params=plus(like.ema_params, 5),
        ema_batch_stats=plus(like.ema_batch_stats, 7),
    )
    earlier = dataclasses.replace(average, ema_batch_stats=None)
    for step, saved, shift in ((1, earlier, 0), (2, average, 7)):
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            checkpoints.save(saved, step)
        weights = checkpoint.read_weights(tmp_path, "--workdir")
        assert weights.step == step
        np.testing.assert_array_equal(weights.params["layers"]["0"][0], np.arange(300) + 5)
        np.testing.assert_array_equal(weights.batch_stats["mean"], np.arange(300) + shift)
        network = checkpoint.restore_network(
            tmp_path, "--workdir", (like.params, like.batch_stats), sharding.replicated(a_mesh())
        )
        assert int(network.step) == step
        assert network.eval_params is not network.params
        assert network.opt_state == ()
        np.testing.assert_array_equal(network.eval_params["layers"][0][0], np.arange(300) + 5)
        np.testing.assert_array_equal(network.eval_batch_stats["mean"], np.arange(300) + shift)
        restored, _ = checkpoint.restore(tmp_path, "--workdir", like)
        np.testing.assert_array_equal(restored.batch_stats["mean"], np.arange(300))
        np.testing.assert_array_equal(restored.eval_batch_stats["mean"], np.arange(300) + shift)
        np.testing.assert_array_equal(restored.eval_params["layers"][0][0], np.arange(300) + 5)


def test_another_network_is_refused(state, tmp_path):
    save(tmp_path, state, 1)
    expected = (
        r"does not fit this config's network and optimizer: batch_stats.mean is float32 \[300\]"
        r" there and float32 \[301\] here; .*; params.layers.0 is float32 \[2, 300\] there"
    )
    other = a_state(a_mesh(), width=301)
    with pytest.raises(ValueError, match=expected):
        checkpoint.restore(tmp_path, "--workdir", other)
    own = (state.params, state.batch_stats)
    network = checkpoint.restore_network(tmp_path, "--workdir", own, sharding.replicated(a_mesh()))
    assert network.eval_params is network.params
    np.testing.assert_array_equal(network.params["layers"][1], state.params["layers"][1] + 1)
    with pytest.raises(ValueError, match=r"optimizer: batch_stats.mean is float32 \[300\]"):
        checkpoint.restore_network(
            tmp_path,
            "--workdir",
            (other.params, other.batch_stats),
            sharding.replicated(a_mesh()),
        )


AWKWARD = ["[b]", "[", "*", "a**b", "?", "new\nline", "%20", "@", " ", "'\"", "é漢", "#{}", "~a:|"]


def test_every_path_can_hold_checkpoints(state, tmp_path):
    run = tmp_path.joinpath(*AWKWARD)
    save(run, state, 1, 2)
    assert_is(checkpoint.restore(run, "--workdir", state)[0], state, 2)
    assert checkpoint.read_weights(run, "--workdir").step == 2


@pytest.mark.parametrize("name", ["back\\slash", "byte\udcff", "gs:"])
def test_paths_that_tensorstore_changes_are_refused(name, tmp_path):
    with pytest.raises(
        ValueError, match=r"--workdir is '.*(back|byte|gs:).*backslash.*name another"
    ):
        checkpoint_reading.directory_of(tmp_path / name / "run", "--workdir")


def largest_file(directory):
    return max((p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def empty(directory):
    shutil.rmtree(directory)
    directory.mkdir()


DAMAGE = {
    "file cut": lambda step: cut(largest_file(step / "default" / "ocdbt.process_0" / "d")),
    "manifest cut": lambda step: cut(step / "default" / "manifest.ocdbt"),
    "list of arrays cut": lambda step: cut(step / "default" / "_METADATA"),
    "directory empty": empty,
    "file missing": lambda step: largest_file(step / "default" / "ocdbt.process_0" / "d").unlink(),
    "state missing": lambda step: shutil.rmtree(step / "default"),
    "digests cut": lambda step: cut(step / "digests" / "metadata"),
    "digests missing": lambda step: (step / "digests" / "metadata").unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(kind, state, tmp_path, capsys):
    save(tmp_path, state, 1, 2)
    DAMAGE[kind](of_step(tmp_path, 2))
    files = sorted(tmp_path.rglob("*"))
    restored, step = checkpoint.restore(tmp_path, "--workdir", state)
    assert step == 1
    assert_is(restored, state, 1)
    assert re.search(
        rf"Checkpoint 2 of {tmp_path} is damaged: it .*\. Taking step 1, which is good. Nothing",
        told(capsys),
    )
    assert checkpoint.read_weights(tmp_path, "init_from").step == 1
    with pytest.raises(ValueError, match=r"damaged checkpoints: step 2 .*; it also holds step 1,"):
        checkpoint.restore(tmp_path, "--workdir", state, 2)
    assert sorted(tmp_path.rglob("*")) == files


def test_no_flipped_bit_is_read(state, tmp_path, capsys):
    """Wherever it is: the array is as it was saved, or the step before is taken."""
    save(tmp_path, state, 1, 2)
    untouched = tmp_path / "untouched"
    shutil.copytree(of_step(tmp_path, 2), untouched)
    rng = np.random.default_rng(0)
    files = sorted(p.relative_to(untouched) for p in untouched.rglob("*") if p.is_file())
    steps = []
    for file in files:
        for bit in rng.integers(0, 8 * max(1, (untouched / file).stat().st_size), 4):
            shutil.rmtree(of_step(tmp_path, 2))
            shutil.copytree(untouched, of_step(tmp_path, 2))
            if (untouched / file).stat().st_size:
                flip(of_step(tmp_path, 2) / file, int(bit))
            restored, step = checkpoint.restore(tmp_path, "--workdir", state)
            assert_is(restored, state, step)
            steps.append(step)
    assert steps.count(1) > 10


def test_every_value_is_in_the_digest():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    others = [array.astype(np.int32), array.reshape(4, 3), array.T, -array, array[:2]]
    others += [
        np.where(array == i, np.nextafter(i, 99, dtype=np.float32), array) for i in array.flat
    ]
    arrays = {str(i): other for i, other in enumerate([array, *others])}
    assert len(set(integrity.digests(arrays).values())) == len(arrays)
    assert integrity.digests({"0": array.copy(order="F")})["0"] == integrity.digests(arrays)["0"]
    assert (
        integrity.first_not_finite({"a": array, "b": jnp.full((2,), jnp.inf, jnp.bfloat16)}) == "b"
    )
    assert integrity.first_not_finite(arrays) is None


def test_checkpoints_without_digests_are_read_with_a_word(state, tmp_path, capsys):
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(7, args=ocp.args.StandardSave(plus(state, 7)))
    restored, _ = checkpoint.restore(tmp_path, "--workdir", state)
    assert_is(restored, state, 7)
    assert f"Checkpoint 7 of {tmp_path} has no digests" in told(capsys)


def broken(state):
    bad = {**state.params, "layers": {**state.params["layers"]}}
    bad["layers"][1] = bad["layers"][1].at[1, 2].set(jnp.nan)
    return type(state)(bad, state.batch_stats, state.opt_state, state.step)


def test_a_state_that_is_not_finite_is_neither_saved_nor_read(state, tmp_path, capsys):
    save(tmp_path, state, 1, 2)
    DAMAGE["file cut"](of_step(tmp_path, 2))
    expected = r"state after step 3 is not finite, in params.layers.1; .* good .* of step 1 in"
    with (
        Checkpoints(tmp_path, keep=5) as checkpoints,
        pytest.raises(FloatingPointError, match=expected),
    ):
        checkpoints.save(broken(state), 3)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:  # as nothing looked before
        manager.save(4, args=ocp.args.StandardSave(broken(state)))
    assert checkpoint.read_weights(tmp_path, "--workdir").step == 1
    assert "4 of" in (output := told(capsys))
    assert "not finite, in params.layers.1" in output
    with pytest.raises(ValueError, match=rf"{tmp_path} .*step 4 .* not finite, in params.layers.1"):
        checkpoint.read_weights(tmp_path, "--workdir", 4)


def test_later_steps_make_room_and_nothing_is_lost(state, tmp_path, capsys):
    """Damaged or not, they lie aside when training goes on before them."""
    save(tmp_path, state, 1, 2, 3)
    empty(of_step(tmp_path, 3))
    (of_step(tmp_path, 1) / "_CHECKPOINT_METADATA").write_text('{"item_handlers": 3}')
    for round_ in range(2):
        checkpoint.set_later_aside(tmp_path, 1)
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            for step in (2, 3):
                checkpoints.save(plus(state, round_), step)
        assert checkpoint_reading.steps_in(tmp_path / "checkpoints") == [2, 3]
        assert checkpoint.restore(tmp_path, "--workdir", state)[1] == 3
        if round_ == 0:
            save_first = of_step(tmp_path, 1)
            shutil.copytree(of_step(tmp_path, 2), save_first)
    aside = tmp_path / "checkpoints" / "set_aside"
    assert {path.name for path in aside.iterdir()} == {"2", "3", "2.1", "3.1"}
    assert not list((aside / "3").iterdir())
    assert f"Checkpoint 3 is now {aside / '3'}" in told(capsys)
    with Checkpoints(tmp_path, keep=2) as checkpoints, pytest.raises(ValueError, match="not saved"):
        checkpoints.save(state, 2)


def test_unfinished_checkpoints_do_not_count(state, tmp_path):
    for name in ("5.orbax-checkpoint-tmp", "5.orbax-checkpoint-tmp-123", "set_aside/6", "x", "07"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    (tmp_path / "checkpoints" / "8").write_text("")
    assert checkpoint_reading.steps_in(tmp_path / "checkpoints") == []
    with pytest.raises(FileNotFoundError, match=r"--workdir is .*, which holds no checkpoint"):
        checkpoint.restore(tmp_path, "--workdir", state)
    save(tmp_path, state, 5)
    checkpoint.set_later_aside(tmp_path, 5)
    there = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert there == {"5", "set_aside", "x", "07", "8"}
    assert (tmp_path / "checkpoints" / "set_aside" / "6").is_dir()
    with pytest.raises(FileNotFoundError, match=r"--step is 4, but .* holds step 5"):
        checkpoint_reading.find_step(tmp_path, "--workdir", 4)


def test_a_checkpoint_that_is_removed_while_it_is_read(state, tmp_path, monkeypatch, capsys):
    """The newest one is taken, and none is called damaged."""
    save(tmp_path, state, 1)
    read_step, reads = checkpoint_reading.read_step, []

    def beside_training(directory, step, *arguments):
        reads.append(step)
        if step < 4:
            save(tmp_path, state, step + 1, keep=1)
        return read_step(directory, step, *arguments)

    monkeypatch.setattr(checkpoint_reading, "read_step", beside_training)
    restored, step = checkpoint.restore(tmp_path, "--workdir", state)
    assert reads == [1, 2, 3, 4]
    assert step == 4
    assert_is(restored, state, 4)
    assert "damaged" not in told(capsys)
    monkeypatch.setattr(checkpoint_reading, "_TRIES", 2)
    reads.clear()
    shutil.rmtree(tmp_path / "checkpoints")
    save(tmp_path, state, 1)
    with pytest.raises(ValueError, match="2 checkpoints went away while they were read"):
        checkpoint.restore(tmp_path, "--workdir", state)


def test_what_cannot_be_written_is_one_error(state, tmp_path):
    with Checkpoints(tmp_path / "a", keep=1) as checkpoints:
        shutil.rmtree(tmp_path / "a" / "checkpoints")
        (tmp_path / "a" / "checkpoints").write_text("")
        with pytest.raises(OSError, match=rf"Not a directory: '{tmp_path}/a/checkpoints"):
            checkpoints.save(state, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # found out in the background
    try:
        with (
            pytest.raises(
                OSError, match=rf"{tmp_path}/b/checkpoints: no checkpoint can be written:"
            ),
            Checkpoints(tmp_path / "b", keep=1) as checkpoints,
        ):
            checkpoints.save(state, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoint_reading.steps_in(tmp_path / "b" / "checkpoints") == []


def test_two_processes_read_the_same(tmp_path):
    """Also where one of them alone cannot read the newest, and after a step is saved anew."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})"
        """
import pathlib, shutil
import jax, numpy as np
from hmsa_jax.distributed import hosts, joining, sharding
from hmsa_jax.training import checkpoint, checkpoint_reading
from tests.training.test_checkpoint import a_state, plus, save, assert_is
run = pathlib.Path(sys.argv[0]).parent / "run"
with joining.joined(sys.argv[1].removeprefix("--distributed=")):
    state = a_state(sharding.make_mesh(-1, 1))
    save(run, state, 1, 2)
    if jax.process_index() == 1:
        read_step = checkpoint_reading.read_step
        def without_2(directory, step, *arguments):
            if step == 2:
                raise checkpoint_reading.DamagedError("is out of reach")
            return read_step(directory, step, *arguments)
        checkpoint_reading.read_step = without_2
    restored, step = checkpoint.restore(run, "--workdir", state)
    assert_is(jax.device_get(restored), jax.device_get(state), step)
    print(f"step {step}")
    checkpoint.set_later_aside(run, step)
    with checkpoint.Checkpoints(run, keep=5) as checkpoints:
        checkpoints.save(plus(state, 3), 3)
    print(f"step {checkpoint.read_weights(run, '--workdir').step}")
    checkpoint.read_weights(run, "--workdir", 2)
"""
    )
    running = Running([script], dict(os.environ), 2, 2)
    statuses, outputs = running.finish()
    running.clean_up()
    assert statuses == [1, 1], outputs
    for output in outputs:
        assert "step 1" in output
        assert "step 3" in output
        assert f"--step is 2, but {tmp_path / 'run'} holds steps 1, 3" in output
    assert "Checkpoint 2 of" in outputs[0]
    assert "is damaged: it is out of reach. Taking step 1" in outputs[0]
    assert "Checkpoint 2 of" not in outputs[1]
    assert (tmp_path / "run" / "checkpoints" / "set_aside" / "2").is_dir()


def test_a_moving_average_begins_with_the_weights_that_are_taken_over(tmp_path):
    mesh = sharding.make_mesh(8, 1)
    other = a_state(mesh)
    save(tmp_path, other, 1)
    drawn = jax.device_get((other.params, other.batch_stats))
    ours = initial_state(*drawn, SGD, sharding.replicated(mesh), ema=True)
    started, _ = checkpoint.start_from(tmp_path, ours)
    expected = jax.tree.leaves(jax.device_get(plus(other, 1).params))
    np.testing.assert_array_equal(started.ema_batch_stats["mean"], other.batch_stats["mean"] + 1)
    for tree in (started.params, started.ema_params):
        for got, want in zip(jax.tree.leaves(tree), expected, strict=True):
            np.testing.assert_array_equal(got, want)
