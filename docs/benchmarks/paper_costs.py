"""What hierarchical and explicit attention cost in training, beside a single scale.

    python docs/benchmarks/paper_costs.py

The paper trains hierarchical attention on the scales 0.5 and 1 and explicit attention on all that
it weighs, 0.5, 1 and 2 (section 3). Counts the useful operations of a whole train step of
HRNet-W48, and compiles it for an H100 to know its memory; no GPU is needed, only
`requirements-targets.txt`.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax

from configs import base
from hmsa_jax.experiment import compile_report, experiment
from hmsa_jax.performance import compiled, flops
from hmsa_jax.performance import target as target_lib

TARGET = "h100:1"
TRAININGS = {
    "single scale": ("none", (1.0,)),
    "hierarchical": ("hierarchical", (0.5, 1.0)),
    "explicit": ("explicit", (0.5, 1.0, 2.0)),
}


def main() -> None:
    target = target_lib.parse(TARGET)
    os.environ.update(target_lib.environment(target))
    jax.config.update("jax_platforms", "cpu")
    devices = target_lib.described_devices(target)
    print(f"jax {jax.__version__}, {target_lib.compiler_version(target)}\n")
    print("| attention | scales | TFLOP | of a single scale | temporaries | of a single scale |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    first = None
    for name, (attention, scales) in TRAININGS.items():
        work, memory = costs(attention, scales, devices)
        first = first or (work, memory)
        print(
            f"| {name} | {', '.join(f'{scale:g}' for scale in scales)}"
            f" | {work / 1e12:.2f} | {work / first[0]:.2f}"
            f" | {memory / 2**30:.2f} GiB | {memory / first[1]:.2f} |",
            flush=True,
        )


def costs(attention: str, scales: tuple[float, ...], devices: list[jax.Device]) -> tuple[int, int]:
    """Useful operations of a train step, and bytes of its temporaries."""
    config = base.get_config()
    config.data.name = "cityscapes"
    config.data.batch_size = 1
    config.model.attention = attention
    config.objective.scales = scales
    assembled = experiment.assemble(config, devices)
    program = compile_report.train_program(assembled, images_per_device=1)
    lowered = program.step.lower(*program.arguments)
    memory = compiled.memory_of(lowered.compile())
    return flops.count(program.useful.trace(*program.arguments).jaxpr), memory.temporaries


if __name__ == "__main__":
    main()
