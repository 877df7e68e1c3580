import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl import flags

from hmsa_jax.input.pipeline import train_batches
from tests.input.memory_source import TRAIN, Counting, MemorySource, assert_equal, record, take


class NoiseSource(MemorySource):
    """Images on which every crop differs from every other."""

    def __init__(self, count, size=(24, 40)):
        rng = np.random.default_rng(count)
        self._records = [
            record(
                rng.integers(0, 256, (*size, 3), dtype=np.uint8),
                rng.integers(0, 19, size, dtype=np.uint8),
                f"noise-{i}",
            )
            for i in range(count)
        ]


def test_shapes_and_types():
    batch = next(train_batches(NoiseSource(5), **TRAIN))
    assert set(batch) == {"image", "label"}
    assert batch["image"].shape == (4, 12, 20, 3)
    assert batch["label"].shape == (4, 12, 20)
    assert batch["image"].dtype == batch["label"].dtype == np.uint8


@pytest.mark.parametrize("batch_size", [1, 4, 7, 16])
def test_every_epoch_holds_every_record_once_in_a_new_order(batch_size):
    records, epochs = 7, 3
    steps = -(-records * epochs // batch_size)
    taken = take(MemorySource([(8, 8)] * records), steps, batch_size=batch_size, crop_size=(4, 4))
    seen = taken["image"].max(axis=(2, 3))[..., 0].ravel()[: records * epochs]
    seen = seen.reshape(epochs, records)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(records), (epochs, 1)))
    assert len({tuple(epoch) for epoch in seen}) == epochs


def test_a_record_is_cut_anew_in_every_epoch():
    taken = take(NoiseSource(1), 4, batch_size=1)["image"]
    assert len({image.tobytes() for image in taken}) == 4


def test_seed_decides():
    first, again, other = (take(NoiseSource(9), 3, seed=seed) for seed in (7, 7, 8))
    assert_equal(first, again)
    assert (first["image"] != other["image"]).any()


def test_start_step_continues_the_same_batches():
    source = NoiseSource(5)
    whole = take(source, 9)
    rest = take(source, 4, start_step=5)
    assert_equal(rest, {key: value[5:] for key, value in whole.items()})


def test_late_start_reads_only_the_batches_it_yields():
    source = Counting(MemorySource([(8, 8)] * 5))
    take(source, 1, start_step=10**9)
    assert source.reads <= 4 * 16


@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_share_the_global_batch(process_count):
    source = NoiseSource(6)
    parts = [
        take(source, 4, process_index=index, process_count=process_count)
        for index in range(process_count)
    ]
    joined = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
    assert_equal(joined, take(source, 4))


def test_a_process_reads_only_its_rows():
    source = MemorySource([(8, 8)] * 4)
    rows = take(source, 1, crop_size=(4, 4))["image"].max(axis=(2, 3))[0, :, 0]
    for lost in rows[2:]:
        source.replace(lost, image=b"lost")
    local = take(source, 1, process_index=0, process_count=2, crop_size=(4, 4), start_step=0)
    np.testing.assert_array_equal(local["image"].max(axis=(2, 3))[0, :, 0], rows[:2])


@pytest.mark.parametrize("num_workers", [1, 3])
def test_workers_do_not_change_the_batches_and_leave_with_the_iterator(num_workers):
    flags.FLAGS.mark_as_parsed()
    source = NoiseSource(5)
    before = set(multiprocessing.active_children())
    got = take(source, 5, num_workers=num_workers, start_step=2)
    assert_equal(got, take(source, 5, start_step=2))
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("num_workers", [0, 1])
def test_undecodable_record_is_named(num_workers):
    flags.FLAGS.mark_as_parsed()
    source = MemorySource([(8, 8)] * 3).replace(1, image=b"broken")
    with pytest.raises(Exception, match="record 'flat-1', field 'image'"):
        take(source, 2, num_workers=num_workers)


BAD_TRAIN = [
    ({"batch_size": 5, "process_count": 2}, r"data\.batch_size"),
    ({"batch_size": 0}, r"data\.batch_size"),
    ({"process_index": 1}, "process_index"),
    ({"crop_size": (0, 8)}, r"data\.crop_size"),
    ({"crop_size": (8, -1)}, r"data\.crop_size"),
    ({"crop_size": (8,)}, r"data\.crop_size"),
    ({"scale_range": (0, 1)}, r"data\.scale_range"),
    ({"scale_range": (2, 1)}, r"data\.scale_range"),
    ({"scale_range": (0.5, float("inf"))}, r"data\.scale_range"),
    ({"scale_range": (0.5, float("nan"))}, r"data\.scale_range"),
    ({"num_workers": -1}, r"data\.workers"),
    ({"start_step": -1}, "start_step"),
    ({"seed": -1}, "seed"),
]


@pytest.mark.parametrize(("options", "field"), BAD_TRAIN)
def test_bad_arguments_are_named_before_the_first_batch(options, field):
    with pytest.raises(ValueError, match=rf"^{field}: expected"):
        train_batches(MemorySource([(8, 8)]), **{**TRAIN, **options})


def test_empty_source_is_refused():
    with pytest.raises(ValueError, match="source: expected at least one record"):
        train_batches(MemorySource([]), **TRAIN)


def test_input_needs_no_jax():
    """Workers import the input; grain takes jax where it finds it, and does without otherwise."""
    program = (
        "import sys; sys.modules['jax'] = sys.modules['tensorflow'] = None; "
        "import hmsa_jax.input.pipeline"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_worker_that_is_killed_is_told_in_words():
    flags.FLAGS.mark_as_parsed()
    before = set(multiprocessing.active_children())
    batches = train_batches(MemorySource([(8, 8)] * 3), **{**TRAIN, "num_workers": 1})
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGINT)  # as a terminal does
    for _ in range(10):  # more than are read ahead
        next(batches)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=r"exit code -9;.*data\.workers"):
        list(itertools.islice(batches, 10))


LEFT_OPEN = """
import sys
sys.path[:0] = {path!r}
from absl import app
from tests.input.memory_source import MemorySource
from hmsa_jax.input.pipeline import train_batches

def main(argv):
    batches = train_batches(MemorySource([(8, 8)] * 3), **{options!r})
    print(next(batches)["label"].shape)
    {then}

if __name__ == "__main__":
    app.run(main)
"""


def test_a_program_may_end_without_closing(tmp_path):
    script = tmp_path / "left_open.py"
    options = {**TRAIN, "num_workers": 1}
    script.write_text(LEFT_OPEN.format(path=sys.path, options=options, then=""))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "(4, 12, 20)\n"
    assert done.stderr == ""


KILLED = "import multiprocessing, os; print(*(c.pid for c in multiprocessing.active_children()),"
KILLED += " flush=True); os.kill(os.getpid(), 9)"


def test_workers_end_with_a_program_that_is_killed(tmp_path):
    script = tmp_path / "killed.py"
    options = {**TRAIN, "num_workers": 2}
    script.write_text(LEFT_OPEN.format(path=sys.path, options=options, then=KILLED))
    # Not by a pipe: who holds one open could not be waited for.
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run([sys.executable, script], stdout=out, stderr=out, timeout=60)
    assert done.returncode == -signal.SIGKILL
    workers = (tmp_path / "out").read_text().splitlines()[1].split()
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


def is_running(pid: str) -> bool:
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # nobody may have asked for its status yet
