"""What a training step of each method costs."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from hmsa_jax.ablation.networks import METHODS, Network, config_of
from hmsa_jax.config import schema
from hmsa_jax.experiment import compile_report
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.performance import compiled, flops
from hmsa_jax.runtime import machine
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import tell

_NAME = "costs.json"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a training step takes.

    Attributes:
      flops: useful floating-point operations, of all devices together.
      memory: bytes on a device; None where the compiler does not say.
      seconds: the median of its measured times.
    """

    flops: int
    memory: int | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Costs:
    """The costs of the methods on one machine.

    Attributes:
      machine: what it is, in words.
      of: method -> its cost.
    """

    machine: str
    of: Mapping[str, Cost]


def measure(config: ConfigDict, workdir: pathlib.Path) -> Costs:
    """The costs of all methods: those on record in the workdir, and the others, which are measured.

    A step has the config's batch, of random images. Nothing else should use the machine meanwhile.

    Args:
      config: that all networks have in common.
      workdir: of the tables.
    """
    path = workdir / _NAME
    facts = _facts(config)
    costs = _read(path, facts)
    for method in METHODS:
        if method not in costs:
            tell(f"Measuring a training step of the method {method} ...")
            network = Network(method, method)
            costs[method] = _measured(config_of(config, network, workdir, config.seed))
            write_atomically(path, json.dumps({"facts": facts, "costs": costs}, indent=1) + "\n")
    return _costs(facts, costs)


def on_record(config: ConfigDict, workdir: pathlib.Path) -> Costs | None:
    """The costs that `measure` has found, if all of it is done."""
    facts = _facts(config)
    costs = _read(workdir / _NAME, facts)
    return _costs(facts, costs) if costs.keys() == METHODS.keys() else None


def _measured(config: ConfigDict) -> dict[str, Any]:
    experiment = assemble(config)
    parts = config.optimizer.accumulate * experiment.mesh.shape["data"]
    program = compile_report.train_program(experiment, config.data.batch_size // parts)
    executable = program.step.lower(*program.arguments).compile()
    memory = compiled.memory_of(executable)
    return {
        "flops": flops.count(program.useful.trace(*program.arguments).jaxpr),
        "memory": None if memory is None else memory.peak,
        "time": compile_report.measured(program, executable, experiment),
    }


def _facts(config: ConfigDict) -> dict[str, Any]:
    """What the costs depend on."""
    devices = jax.devices()
    fields = schema.flatten(config)
    varied = {name for method in METHODS.values() for name in method}
    return {
        "machine": machine.describe(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "jax": jax.__version__,
        "config": json.loads(
            json.dumps(
                {
                    name: value
                    for name, value in fields.items()
                    if name == "model.remat"  # free, since it changes the costs alone
                    or not (schema.FIELDS[name].free or name in varied or _is_of_images(name))
                }
            )
        ),
    }


def _is_of_images(name: str) -> bool:
    """Whether a field says which images are shown, and when."""
    return name in ("seed", "steps", "epochs") or name.startswith("data.pool.")


def _read(path: pathlib.Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The costs in a file; none if it is of another machine or config, or damaged."""
    try:
        content = json.loads(path.read_text())
        return dict(content["costs"]) if content["facts"] == facts else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _costs(facts: Mapping[str, Any], costs: Mapping[str, Any]) -> Costs:
    words = f"{facts['machine']}, {facts['devices']}, jax {facts['jax']}"
    return Costs(
        words,
        {
            name: Cost(cost["flops"], cost["memory"], cost["time"]["median"])
            for name, cost in costs.items()
        },
    )
