"""Chips and targets are what they are called."""

import pytest

from hmsa_jax.performance import chips
from hmsa_jax.performance import target as target_lib


@pytest.mark.parametrize(
    ("text", "name", "devices"),
    [
        ("cpu", "cpu:1", 1),
        ("cpu:8", "cpu:8", 8),
        ("v5e", "v5e:1x1", 1),
        (" v5p:2x2x1", "v5p:2x2x1", 4),
        ("tpu7x:2x2x1", "tpu7x:2x2x1", 8),
        ("h100:16", "h100:16", 16),
    ],
)
def test_targets(text, name, devices):
    target = target_lib.parse(text)
    assert (target.name, target.devices) == (name, devices)
    assert target_lib.parse(target.name) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v9:2x2", r"'v9:2x2'; expected one of cpu, v4, v5e"),
        ("v5e:4", r"2 numbers above 0, like v5e:2x2"),
        ("v5p:2x2", r"3 numbers above 0, like v5p:2x2x1"),
        ("h100:2x4", r"1 number above 0, like h100:8"),
        ("v5e:0x2", r"expected a topology"),
        ("a100:12", r"up to 8 GPUs, or a multiple of 8"),
        ("", r"--targets is ''"),
    ],
)
def test_wrong_targets_say_what_is_right(text, message):
    with pytest.raises(ValueError, match=message):
        target_lib.parse_all(text)


def test_chips_are_what_they_are_called():
    assert chips.of_kind("TPU v5 lite").name == "v5e"
    assert chips.of_kind("TPU v5").peak == 459e12
    assert chips.of_kind("cpu") is None
    for chip in chips.CHIPS:
        assert chip.source
        assert chips.named(chip.name) is chip
