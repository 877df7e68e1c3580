"""Targets: the devices that a program is compiled for, written NAME or NAME:TOPOLOGY."""

import dataclasses
import importlib.metadata
import math
import pathlib
import re
from typing import Any

import jax
from jax.experimental import topologies

from hmsa_jax.performance import chips

EXPECTED = (
    f"one of cpu, {', '.join(chip.name for chip in chips.CHIPS)}, by itself (one chip) or with a"
    " topology, like cpu:8, v5e:2x2, v5p:2x2x1 or h100:8"
)
_GPUS_PER_HOST = 8
_COMPILERS = {"tpu": "libtpu", "cuda": "jax-cuda12-pjrt", "cpu": "jaxlib"}
HINT = "pip install -r requirements-targets.txt"


class CompilerMissingError(RuntimeError):
    """The compiler of a target is not installed; the message says how to install it."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices of one kind.

    Attributes:
      chip: of the devices, or None for the CPU.
      shape: of a TPU slice in chips, such as (2, 2); for GPUs and CPUs the number of devices.
    """

    chip: chips.Chip | None
    shape: tuple[int, ...]

    @property
    def platform(self) -> str:
        """`cpu`, `tpu` or `cuda`."""
        return self.chip.platform if self.chip else "cpu"

    @property
    def name(self) -> str:
        """As in `--targets`, with the topology."""
        return f"{self.chip.name if self.chip else 'cpu'}:{'x'.join(map(str, self.shape))}"

    @property
    def devices(self) -> int:
        """How many devices JAX sees."""
        return math.prod(self.shape) * (self.chip.devices_per_chip if self.chip else 1)


def parse(text: str) -> Target:
    """Reads one of `--targets`.

    Raises:
      ValueError: it is no target, or the topology is none of that chip.

    >>> target = parse("v5p:2x2x1")
    >>> target.chip.name, target.shape, target.devices
    ('v5p', (2, 2, 1), 4)
    """
    name, colon, topology = text.strip().partition(":")
    chip = chips.named(name)
    if chip is None and name != "cpu":
        raise ValueError(f"--targets has {text!r}; expected {EXPECTED}")
    dimensions = (chip.dimensions if chip else 0) or 1
    if not colon:
        return Target(chip, (1,) * dimensions)
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", topology) or topology.count("x") + 1 != dimensions:
        like = "x".join(("2", "2", "1")[:dimensions]) if dimensions > 1 else "8"
        raise ValueError(
            f"--targets has {text!r}; expected a topology of {dimensions}"
            f" number{'s' if dimensions > 1 else ''} above 0, like {name}:{like}"
        )
    target = Target(chip, tuple(map(int, topology.split("x"))))
    count = target.shape[0]
    if target.platform == "cuda" and count > _GPUS_PER_HOST and count % _GPUS_PER_HOST:
        raise ValueError(
            f"--targets has {text!r}; expected up to {_GPUS_PER_HOST} GPUs, or a multiple of"
            f" {_GPUS_PER_HOST}"
        )
    return target


def parse_all(text: str) -> tuple[Target, ...]:
    """Reads `--targets`, names with commas between them; raises ValueError as `parse` does."""
    targets = tuple(parse(part) for part in text.split(",") if part.strip())
    if not targets:
        raise ValueError(f"--targets is {text!r}; expected {EXPECTED}")
    return tuple(dict.fromkeys(targets))


def environment(target: Target) -> dict[str, str]:
    """Environment variables that a process needs before it imports JAX to compile for a target."""
    variables = {"JAX_PLATFORMS": "cpu"}
    if target.platform == "tpu":
        # The first three keep libtpu from asking the network what machine this is; with the last,
        # two processes may load it at a time.
        variables |= {
            "TPU_ACCELERATOR_TYPE": "v5litepod-4",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_SKIP_MDS_QUERY": "1",
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        }
    return variables


def compiler_version(target: Target) -> str | None:
    """Name and version of the package that compiles for the target, None if it is not installed."""
    package = _COMPILERS[target.platform]
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def present_devices(target: Target) -> list[jax.Device] | None:
    """The target's devices if this machine has them, else None."""
    local = jax.devices("cpu") if target.chip is None else jax.devices()
    if target.chip is not None:
        local = [device for device in local if device.device_kind in target.chip.kinds]
    return local[: target.devices] if len(local) >= target.devices else None


def described_devices(target: Target) -> list[jax.Device]:
    """Descriptions of the target's devices, which programs can be compiled for anywhere.

    Raises:
      CompilerMissingError: the compiler is not installed.
      jax.errors.JaxRuntimeError: the compiler does not know the topology.
    """
    if target.platform == "cpu":
        raise CompilerMissingError(f"{target.name} needs {target.devices} CPU devices")
    if compiler_version(target) is None:
        raise CompilerMissingError(
            f"{target.name} needs the compiler {_COMPILERS[target.platform]}: {HINT}"
        )
    chip = target.chip
    assert chip is not None  # the platform is not the CPU
    options: dict[str, Any] = dict(chip.options)
    if target.platform == "tpu":
        if math.prod(target.shape) == 1:
            options["chips_per_host_bounds"] = (1, 1, 1)
        topology = f"{chip.name}:{'x'.join(map(str, target.shape))}"
        return topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        ).devices
    hosts = max(1, target.devices // _GPUS_PER_HOST)
    return topologies.get_topology_desc(
        platform="cuda",
        target_config=(pathlib.Path(__file__).parent / f"{chip.name}.txtpb").read_text(),
        topology=f"1x{hosts}x{target.devices // hosts}",
    ).devices
