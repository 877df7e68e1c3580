"""Tracing steps, and the figures of speed and memory in the log."""

import types

import jax
import jax.numpy as jnp
import pytest

from hmsa_jax.performance import efficiency, profiling


@pytest.mark.parametrize("text", ["20", "20:", "25:20", "0:5", "a:b", "1:2:3"])
def test_wrong_ranges_name_the_field(text):
    with pytest.raises(ValueError, match=f"profile is '{text}'; expected .* like '20:25'"):
        profiling.parse(text)


def test_ranges():
    assert profiling.parse("") is None
    assert profiling.parse("20:25") == (20, 25)
    assert profiling.parse("3:3") == (3, 3)


def run(directory, steps, asked, monkeypatch):
    """Runs steps under a profile within the loop's transfer guard; returns those it traced."""
    tracing, traced = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda path: tracing.append(path))
    monkeypatch.setattr(jax.profiler, "stop_trace", tracing.clear)
    x = jax.device_put(jnp.zeros(()))
    step_fn = jax.jit(lambda x: 2 * x)
    step_fn(x)
    with profiling.Profile(asked, directory) as profile, jax.transfer_guard("disallow"):
        for step in steps:
            profile.before(step)
            x = step_fn(x)
            traced += [step] * len(tracing)
            profile.after(step, x)
    assert not tracing
    return traced


@pytest.mark.parametrize(
    ("steps", "asked", "traced"),
    [
        (range(1, 11), "3:5", [3, 4, 5]),
        (range(5, 11), "3:6", [5, 6]),  # resumed within the range
        (range(7, 11), "3:6", []),  # resumed after it
        (range(1, 5), "3:9", [3, 4]),  # stopped within it
        (range(1, 5), "", []),
    ],
)
def test_traces_the_steps_that_are_asked_for(tmp_path, monkeypatch, steps, asked, traced):
    assert run(tmp_path, steps, asked, monkeypatch) == traced


def test_steps_that_never_come_are_refused_and_those_behind_are_told(tmp_path, capsys):
    profiling.check("20:25", 20)
    profiling.check("", 1)
    with pytest.raises(ValueError, match="profile is '20:25', but the run has 19 steps"):
        profiling.check("20:25", 19)
    profiling.Profile("20:25", tmp_path, 24)
    assert capsys.readouterr().out == ""
    profiling.Profile("20:25", tmp_path, 25)
    assert "profile is '20:25', but the run has taken 25 steps" in capsys.readouterr().out


def test_writes_a_trace(tmp_path, capsys):
    x = jax.device_put(jnp.ones((8, 8)))
    step_fn = jax.jit(lambda x: x @ x)
    step_fn(x)
    with profiling.Profile("2:3", tmp_path / "profile") as profile, jax.transfer_guard("disallow"):
        for step in range(1, 5):
            profile.before(step)
            x = step_fn(x)
            profile.after(step, x)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert f"--logdir={tmp_path / 'profile'}" in capsys.readouterr().out.replace("\n", "")


def device(kind, memory):
    return types.SimpleNamespace(
        device_kind=kind, process_index=jax.process_index(), memory_stats=lambda: memory
    )


def test_figures_of_a_known_chip():
    memory = {"bytes_in_use": 2**30, "peak_bytes_in_use": 3 * 2**30}
    more = {"bytes_in_use": 2**31, "peak_bytes_in_use": 2**32}
    work = efficiency.StepWork(
        197 * 10**12, (device("TPU v5 lite", memory), device("TPU v5 lite", more))
    )
    figures = work.figures(0.5)
    assert figures == {
        "flops_per_second": 98.5e12,
        "mfu": pytest.approx(0.25),
        "memory_bytes": 2**31,
        "memory_peak_bytes": 2**32,
    }
    assert efficiency.describe(figures) == "MFU 25.0%  2.0 GiB (at most 4.0)"


def test_figures_where_no_peak_is_published():
    figures = efficiency.StepWork(3 * 10**9, (device("cpu", None),)).figures(2.0)
    assert figures == {"flops_per_second": 6e9}
    assert efficiency.describe(figures) == "6 GFLOP/s"
