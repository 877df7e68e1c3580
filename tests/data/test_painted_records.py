"""Records that several processes paint: the same ones, in order, or an error."""

import pytest

from data.street_scenes import records
from hmsa_jax.runtime import machine

COUNT = 7


@pytest.fixture
def three_processes(monkeypatch):
    monkeypatch.setattr(records, "_LEAST", 2)
    monkeypatch.setattr(machine, "cores", lambda: 3)


@pytest.fixture
def others(monkeypatch):
    """The processes that are started."""
    started, start = [], records.subprocess.Popen

    def recorded(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(records.subprocess, "Popen", recorded)
    return started


@pytest.mark.parametrize("kind", records.KINDS)
def test_several_processes_paint_what_one_does(kind, three_processes, others):
    alone = [records.KINDS[kind](5, "validation", index) for index in range(COUNT)]
    assert list(records.painted(kind, 5, "validation", COUNT)) == alone
    assert len(others) == 3


def test_few_scenes_are_painted_here(others):
    assert len(list(records.painted("fine", 0, "train", 3))) == 3
    assert not others


def test_a_painter_that_is_killed_is_told(three_processes, others):
    painted = records.painted("fine", 0, "train", 10**6)
    next(painted)
    others[1].kill()
    with pytest.raises(ChildProcessError, match="paints scenes ended by itself, with exit code -9"):
        list(painted)


def test_painters_end_with_whoever_asked(three_processes, others):
    painted = records.painted("fine", 0, "train", 10**6)
    next(painted)
    painted.close()
    assert all(process.returncode is not None for process in others)
