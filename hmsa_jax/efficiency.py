"""How well a training step uses its devices: useful work a second, and their memory."""

import dataclasses

import jax
import ml_collections
from jax.stages import Traced

from hmsa_jax import experiment, flops
from hmsa_jax.targets import chips


@dataclasses.dataclass(frozen=True)
class StepWork:
    """What a step does.

    Attributes:
      flops: useful floating-point operations of a step, as `flops.count` counts them, of all
        devices together.
      devices: which these are.
    """

    flops: int
    devices: tuple[jax.Device, ...]

    def figures(self, steps_per_second: float) -> dict[str, float]:
        """Figures for the log.

        Returns:
          `flops_per_second`, of all devices; `mfu`, their share of the published bfloat16 peak,
          where the chip is known; `memory_bytes` and `memory_peak_bytes`, in use now and at most
          so far, of the local device that has most, where devices tell.
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


def work_of(
    config: ml_collections.ConfigDict, parts: experiment.Experiment, traced: Traced, *arguments
) -> StepWork:
    """Counts the work of a train step that is traced already.

    A network that recomputes is traced once more without: see `flops.plain`.

    Args:
      config: of the experiment.
      parts: of the experiment.
      traced: the train step.
      *arguments: what it was traced with.
    """
    useful = plain(parts)
    if useful.graphdef is not parts.graphdef:
        traced = experiment.train_step_of(config, useful).trace(*arguments)
    return StepWork(flops.count(traced.jaxpr), tuple(parts.mesh.devices.flat))


def plain(parts: experiment.Experiment) -> experiment.Experiment:
    """The same experiment, whose network does useful work only, as `flops.plain` says."""
    graphdef = flops.plain(parts.graphdef, parts.params, parts.batch_stats)
    return dataclasses.replace(parts, graphdef=graphdef)
