"""How often the devices of a training wait for each other's moments, layer by layer and merged.

    python docs/benchmarks/collectives.py

Traces the train step for eight devices; nothing is compiled. Of the two collectives of BatchNorm
(hmsa_jax/models/layers/collectives.py) one travels forward alone and the other backward alone, so
that half of those in the traced step are all-reduces. Prints a markdown table.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

from configs import base
from hmsa_jax.config import schema
from hmsa_jax.experiment import compile_report, experiment
from hmsa_jax.models import multiscale
from tests.exchanges import count_collectives

TRUNKS = ("tiny", "w18", "w48", "resnet50")
MERGED = multiscale.merged


def main() -> None:
    print("| trunk | each layer by itself | merged |\n|---|---:|---:|")
    for trunk in TRUNKS:
        counts = []
        for merge in (lambda function: function, MERGED):
            multiscale.merged = merge
            counts.append(all_reduces(trunk))
        print(f"| {trunk} | {counts[0]} | {counts[1]} |", flush=True)


def all_reduces(trunk: str) -> int:
    """Of moments and of the gradients of what follows from them, in a train step."""
    changes = {"model.trunk": trunk, "data.crop_size": (128, 256), "data.batch_size": 8}
    changes["data.name"] = "street_scenes"
    if trunk.startswith("resnet"):
        changes["objective.aux_weight"] = 0.0
    config = schema.override(base.get_config(), changes)
    program = compile_report.train_program(experiment.assemble(config), 1)
    traced = program.step.trace(*program.arguments)
    return count_collectives(traced.jaxpr.jaxpr) // 2


if __name__ == "__main__":
    main()
