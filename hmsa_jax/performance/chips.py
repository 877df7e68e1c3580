"""Facts about chips: their names, their peak, their memory. No other file has any."""

import dataclasses
from typing import Any

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of accelerator; every figure is that of one device as JAX counts devices.

    Attributes:
      name: as in `--targets`.
      kinds: what JAX calls it, `device_kind`.
      platform: `tpu` or `cuda`.
      peak: published dense bfloat16 peak, FLOP/s.
      bandwidth: published, of the device's memory, bytes/s.
      memory: bytes of device memory that the compiler lets a program have.
      source: where peak and bandwidth were published.
      dimensions: of a TPU's topology, 2 or 3; 0 for a GPU.
      devices_per_chip: devices that JAX makes of one chip.
      options: what the compiler has to be told besides the topology.
    """

    name: str
    kinds: tuple[str, ...]
    platform: str
    peak: float
    bandwidth: float
    memory: int
    source: str
    dimensions: int = 0
    devices_per_chip: int = 1
    options: tuple[tuple[str, str], ...] = ()


def _tpu(
    name: str,
    kinds: tuple[str, ...],
    tflops: float,
    gbps: float,
    gib: float,
    page: str,
    dimensions: int,
    **more: Any,
) -> Chip:
    source = f"Google Cloud TPU documentation, '{page}': peak compute, bf16, and HBM bandwidth"
    rates = tflops * 1e12, gbps * 1e9
    return Chip(name, kinds, "tpu", *rates, int(gib * GIB), source, dimensions, **more)


def _gpu(
    name: str, kinds: tuple[str, ...], tflops: float, gbps: float, memory: int, sheet: str
) -> Chip:
    source = f"NVIDIA, '{sheet}' data sheet: BFLOAT16 tensor core, without sparsity, and memory"
    return Chip(name, kinds, "cuda", tflops * 1e12, gbps * 1e9, memory, source)


# Memory of a TPU: the limit in the compiler's own message about a program that does not fit
# (libtpu 0.0.42). Of a GPU: what the driver reports, `device_memory_size` in NAME.txtpb.
CHIPS = (
    _tpu(
        "v4",
        ("TPU v4",),
        275,
        1200,
        30.75,
        "TPU v4",
        3,
        options=(("chip_config_name", "megacore"),),
    ),
    _tpu("v5e", ("TPU v5 lite", "TPU v5e"), 197, 819, 15.75, "TPU v5e", 2),
    _tpu("v5p", ("TPU v5", "TPU v5p"), 459, 2765, 95.74, "TPU v5p", 3),
    _tpu("v6e", ("TPU v6 lite", "TPU v6e"), 918, 1638, 31.25, "TPU v6e", 2),
    # A chip is two devices, with half of its 2307 TFLOP/s and of its 7380 GB/s each.
    _tpu("tpu7x", ("TPU7x",), 2307 / 2, 7380 / 2, 94.75, "TPU7x (Ironwood)", 3, devices_per_chip=2),
    _gpu("a100", ("NVIDIA A100-SXM4-80GB",), 312, 2039, 85_100_068_864, "A100 Tensor Core GPU"),
    _gpu("h100", ("NVIDIA H100 80GB HBM3",), 989.4, 3350, 84_942_979_072, "H100 Tensor Core GPU"),
)


def named(name: str) -> Chip | None:
    """The chip of that name, as in `--targets`."""
    return next((chip for chip in CHIPS if chip.name == name), None)


def of_kind(device_kind: str) -> Chip | None:
    """The chip that JAX calls so, or None for a CPU or a chip that is not known."""
    return next((chip for chip in CHIPS if device_kind in chip.kinds), None)
