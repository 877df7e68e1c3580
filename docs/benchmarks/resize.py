"""What enlarging by matrices saves on a TPU, by the compiler's own models.

    python docs/benchmarks/resize.py

Forward and backward, one image of 512 x 1024, compiled for one chip; no TPU is needed, only
`requirements-targets.txt`. In brackets the cycles that the compiler estimates for all instructions.
"""

import os
import pathlib
import sys
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from hmsa_jax.models.layers import resize
from hmsa_jax.performance import hlo
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import cycles_of, modelled_seconds

TARGETS = ("v5e", "v6e")
CASES = {  # shape, size, dtype
    "stride 8 to 4, 48 channels": ((1, 64, 128, 48), (128, 256), "bfloat16"),
    "stride 8 to 4, 96 channels": ((1, 64, 128, 96), (128, 256), "bfloat16"),
    "stride 32 to 4, 48 channels": ((1, 16, 32, 48), (128, 256), "bfloat16"),
    "stride 32 to 4, 384 channels": ((1, 16, 32, 384), (128, 256), "bfloat16"),
    "logits of 19 classes, stride 4 to 1": ((1, 128, 256, 19), (512, 1024), "float32"),
}


def main() -> None:
    targets = [target_lib.parse(name) for name in TARGETS]
    os.environ.update(target_lib.environment(targets[0]))
    jax.config.update("jax_platforms", "cpu")
    print(f"jax {jax.__version__}, {target_lib.compiler_version(targets[0])}\n")
    print("| chip | what | slices | columns by a matrix | rows, too |")
    print("|---|---|---:|---:|---:|", flush=True)
    for target in targets:
        device = target_lib.described_devices(target)[0]
        for name, case in CASES.items():
            with unittest.mock.patch.object(jax.lax, "platform_dependent", by_slices):
                slices = cost(*case, device)
            forms = [slices, cost(*case, device), cost(*case, device, whole_rows=True)]
            cells = " | ".join(
                f"{1e3 * time:.3f} ms ({cycles / 1e3:.0f} k)" for time, cycles in forms
            )
            print(f"| {target.chip.name} | {name} | {cells} |", flush=True)


def by_slices(x: jax.Array, *, tpu, default) -> jax.Array:
    """In place of `jax.lax.platform_dependent`: what other devices do."""
    del tpu
    return default(x)


def cost(shape, size, dtype, device: jax.Device, *, whole_rows=False) -> tuple[float, int]:
    """Modelled seconds and estimated cycles of resizing and of its gradient."""
    jax.clear_caches()
    here = SingleDeviceSharding(device)

    def step(x, cotangent):
        y, vjp = jax.vjp(lambda x: resize.resize_bilinear(x, size, whole_rows=whole_rows), x)
        return y, vjp(cotangent)

    x, cotangent = (
        jax.ShapeDtypeStruct(s, jnp.dtype(dtype), sharding=here)
        for s in (shape, (shape[0], *size, shape[3]))
    )
    program = jax.jit(step).lower(x, cotangent).compile()
    _, cycles = cycles_of(hlo.read(program.as_text()))
    return modelled_seconds(program), cycles


if __name__ == "__main__":
    main()
