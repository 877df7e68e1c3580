"""The number of worker processes where the config leaves it open."""

import json
import re
import time
import types

import numpy as np
import pytest

from hmsa_jax.input import worker_count
from hmsa_jax.runtime import machine
from tests.input.memory_source import MemorySource, take

GB = 10**9


@pytest.fixture
def host(monkeypatch):
    """A host of 16 cores with an accelerator, all for this process."""
    monkeypatch.setattr(machine, "core_numbers", lambda: list(range(16)))
    monkeypatch.setattr(machine, "core_quota", lambda: None)
    monkeypatch.setattr(worker_count, "_memory", lambda: 128 * GB)
    monkeypatch.setattr(worker_count, "_shared", lambda: 64 * GB)
    device = types.SimpleNamespace(platform="gpu")
    monkeypatch.setattr(worker_count.jax, "local_devices", lambda: [device])
    return device


def busy(index):
    end = time.thread_time() + 0.01
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((16.0, 10**6, 128 * GB, 64 * GB), (15, "one for each core but one")),
        ((15.9, 10**6, 128 * GB, 64 * GB), (14, "one for each core but one")),
        ((256.0, 10**6, 512 * GB, 64 * GB), (32, "more would not be needed")),
        ((16.0, 10**9, 45 * GB, 64 * GB), (5, "the memory holds no more")),
        ((16.0, 10**7, 45 * GB, 0.3 * GB), (7, "/dev/shm holds no more")),
        ((4.5, 10**6, 128 * GB, 64 * GB), (0, "threads of this process, which keep 4 cores busy")),
        (
            (16.0, 10**7, 45 * GB, 64 * 2**20),
            (0, "threads of this process, /dev/shm holds no more"),
        ),
    ],
)
def test_cores_and_memory_limit_the_workers(limits, expected):
    assert worker_count.fitting(*limits) == expected


def test_the_log_says_what_was_chosen_and_why(host, capsys):
    assert worker_count.choose(busy, batch_bytes=10**6) == 15
    host.platform = "cpu"
    assert worker_count.choose(busy, batch_bytes=10**6) == 0
    accelerator, cpu = capsys.readouterr().out.splitlines()
    assert "15: one for each core but one. This process may use 16 cores and reads" in accelerator
    figures = re.search(r"in (\S+) ms of one: up to (\S+) images/s", accelerator).groups()
    milliseconds, rate = map(float, figures)
    assert 10 <= milliseconds < 20
    assert rate == pytest.approx(15 / milliseconds * 1000, rel=0.01)
    assert "0: threads of this process, whose devices are the same 16 cores." in cpu


def test_processes_of_a_host_share_its_cores(host, monkeypatch, capsys):
    def gathered(moment, text):
        name, cores = json.loads(text)
        return [json.dumps(place) for place in ((name, cores), ("other", cores), (name, [0, 1]))]

    monkeypatch.setattr(worker_count.hosts, "gathered", gathered)
    assert worker_count.choose(busy, batch_bytes=10**6) == 14  # 14 + 2 / 2 less one
    assert "16 cores, shared with 1 more processes, and reads" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "is_limit"), [("4096\n", True), ("max\n", False), ("", False)])
def test_the_memory_of_a_control_group(text, is_limit, tmp_path, monkeypatch):
    path = tmp_path / "memory.max"
    monkeypatch.setattr(worker_count, "_MEMORY_LIMIT", path)
    there = worker_count._memory()
    path.write_text(text)
    assert worker_count._memory() == (4096 if is_limit else there)


def test_the_crops_that_are_timed_are_the_next_ones_of_this_process():
    """Two of four rows a batch, each of the record that the batch shows."""
    source, crops = MemorySource([(8, 8)] * 9), []

    def choose(load):
        crops.extend(load(i) for i in range(4))
        return 0

    options = {"crop_size": (8, 8), "process_index": 1, "process_count": 2, "start_step": 3}
    batches = take(source, 2, num_workers=choose, **options)
    for at, key in enumerate(("image", "label")):
        flat = batches[key].reshape(4, *batches[key].shape[2:])
        np.testing.assert_array_equal(np.stack([crop[at] for crop in crops]), flat)


@pytest.mark.parametrize(
    ("batch_bytes", "limits"),
    [(10**9, {"_memory": 90 * GB}), (10**7, {"_shared": 0.4 * GB})],
)
def test_processes_of_a_host_share_its_memory(host, monkeypatch, batch_bytes, limits):
    """Half of it holds five workers; all of it would hold the seven for which there are cores."""
    for name, size in limits.items():
        monkeypatch.setattr(worker_count, name, lambda size=size: size)
    monkeypatch.setattr(worker_count.hosts, "gathered", lambda moment, text: [text, text])
    assert worker_count.choose(busy, batch_bytes=batch_bytes) == 5
