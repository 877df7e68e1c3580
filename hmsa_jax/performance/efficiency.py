"""How well a training step uses its devices: its useful work a second, and their memory."""

import dataclasses

import jax

from hmsa_jax.performance import chips


@dataclasses.dataclass(frozen=True)
class StepWork:
    """What a step does.

    Attributes:
      flops: useful floating-point operations of a step on all devices together, from
        `flops.count`.
      devices: those devices.
    """

    flops: int
    devices: tuple[jax.Device, ...]

    def figures(self, steps_per_second: float) -> dict[str, float]:
        """Figures for the log.

        Returns:
          `flops_per_second` of all devices. `mfu`, the fraction of the published bfloat16 peak,
          where the chip is known. Where devices tell, `memory_bytes` and `memory_peak_bytes`: the
          bytes in use now and the most so far, of the local device that uses most.
        """
        rate = self.flops * steps_per_second
        figures = {"flops_per_second": rate}
        chip = chips.of_kind(self.devices[0].device_kind)
        if chip is not None:
            figures["mfu"] = rate / (len(self.devices) * chip.peak)
        here = [device for device in self.devices if device.process_index == jax.process_index()]
        stats = [device.memory_stats() or {} for device in here]
        for name, key in (
            ("memory_bytes", "bytes_in_use"),
            ("memory_peak_bytes", "peak_bytes_in_use"),
        ):
            if all(key in of_device for of_device in stats):
                figures[name] = max(of_device[key] for of_device in stats)
        return figures


def describe(figures: dict[str, float]) -> str:
    """The same in a few words, for the line that a person reads."""
    if "mfu" in figures:
        text = f"MFU {figures['mfu']:.1%}"
    else:
        text = f"{figures['flops_per_second'] / 1e9:.3g} GFLOP/s"
    if "memory_peak_bytes" in figures:
        text += (
            f"  {figures['memory_bytes'] / chips.GIB:.1f} GiB"
            f" (at most {figures['memory_peak_bytes'] / chips.GIB:.1f})"
        )
    return text
