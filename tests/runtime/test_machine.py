"""The cores that a process may use."""

import pytest

from hmsa_jax.runtime import machine


@pytest.mark.parametrize(
    ("text", "cores"),
    [("250000 100000", 2.5), ("max 100000", None), ("", None), (None, None)],
)
def test_the_quota_of_a_control_group(text, cores, tmp_path, monkeypatch):
    path = tmp_path / "cpu.max"
    monkeypatch.setattr(machine, "_QUOTA", path)
    if text is not None:
        path.write_text(text)
    assert machine.core_quota() == cores


@pytest.mark.parametrize(("quota", "cores"), [(None, 16), (2.5, 2), (0.2, 1), (64.0, 16)])
def test_cores_that_can_be_kept_busy(quota, cores, monkeypatch):
    monkeypatch.setattr(machine, "core_numbers", lambda: list(range(16)))
    monkeypatch.setattr(machine, "core_quota", lambda: quota)
    assert machine.cores() == cores
