"""What enlarging columns by a matrix saves on a TPU, by the compiler's own model.

    python docs/benchmarks/resize.py

Forward and backward, one image of 512 x 1024, compiled for one chip; no TPU is needed, only
`requirements-targets.txt`.
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
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import modelled_seconds

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
    print("| chip | what | slices | matrix | slices / matrix |")
    print("|---|---|---:|---:|---:|", flush=True)
    for target in targets:
        device = target_lib.described_devices(target)[0]
        for name, case in CASES.items():
            matrix = seconds(*case, device)
            with unittest.mock.patch.object(jax.lax, "platform_dependent", by_slices):
                slices = seconds(*case, device)
            print(
                f"| {target.chip.name} | {name} | {1e3 * slices:.3f} ms | {1e3 * matrix:.3f} ms"
                f" | {slices / matrix:.2f} |",
                flush=True,
            )


def by_slices(x: jax.Array, *, tpu, default) -> jax.Array:
    """In place of `jax.lax.platform_dependent`: what other devices do."""
    del tpu
    return default(x)


def seconds(shape, size, dtype, device: jax.Device) -> float:
    """Modelled time of resizing and of its gradient."""
    jax.clear_caches()
    here = SingleDeviceSharding(device)

    def step(x, cotangent):
        y, vjp = jax.vjp(lambda x: resize.resize_bilinear(x, size), x)
        return y, vjp(cotangent)

    x, cotangent = (
        jax.ShapeDtypeStruct(s, jnp.dtype(dtype), sharding=here)
        for s in (shape, (shape[0], *size, shape[3]))
    )
    return modelled_seconds(jax.jit(step).lower(x, cotangent).compile())


if __name__ == "__main__":
    main()
