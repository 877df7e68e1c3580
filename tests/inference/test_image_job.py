"""Images are written while others are predicted, and recorded in order."""

import threading

import numpy as np
import pytest

from hmsa_jax.distributed import preemption
from hmsa_jax.inference import image_job

COUNT = 20


def work(write, *, size=8, predicted=None):
    """Works through images one by one; returns what was recorded."""
    recorded = []

    def predict(todo, unreadable):
        for number in range(len(todo)):
            if predicted is not None:
                predicted.append(number)
            yield [number], [np.full(size, number, np.uint8)]

    source = [{"id": f"{i}", "image": b""} for i in range(COUNT)]
    image_job.work_through(
        "test", source, range(COUNT), (), predict=predict, write=write, record=recorded.append
    )
    return recorded


def test_all_threads_write_images_of_batches_of_one():
    together = threading.Barrier(image_job._WRITERS, timeout=20)

    def write(todo, number, prediction):
        together.wait()
        return int(prediction[0])

    assert work(write) == list(range(COUNT))


@pytest.mark.parametrize(("size", "most"), [(8, image_job._MOST_WAITING), (2**20, 3)])
def test_few_wait_to_be_written(monkeypatch, size, most):
    monkeypatch.setattr(image_job, "_MOST_BYTES", 3 * 2**20)
    predicted, done, ahead = [], [], []

    def write(todo, number, prediction):
        ahead.append(len(predicted) - len(done))
        done.append(number)
        return number

    assert work(write, size=size, predicted=predicted) == list(range(COUNT))
    assert max(ahead) <= most + 1


def test_what_is_written_when_a_signal_comes_is_recorded(monkeypatch):
    monkeypatch.setattr(preemption.Preemption, "requested_of_any", lambda self: True)
    assert work(lambda todo, number, prediction: number) == [0]


def test_an_error_of_a_writer_ends_the_work():
    def write(todo, number, prediction):
        if number == 7:
            raise OSError("the disk is full")
        return number

    with pytest.raises(OSError, match="the disk is full"):
        work(write)
