"""What rows as images save on a TPU in a convolution, by the compiler's own model.

    python docs/benchmarks/convolution.py

A 3x3 convolution with BatchNorm and ReLU, forward and backward, bfloat16, in both forms, compiled
for one chip; no TPU is needed, only `requirements-targets.txt`.
"""

import os
import pathlib
import sys
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from hmsa_jax.models.layers.conv import Conv, ConvBN
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.performance import compiled, hlo
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import cycles_of, modelled_seconds

TARGETS = ("v5e", "v6e")
CASES = {  # of one image of 512 x 1024, unless said: input, outputs, further settings
    "stem, 64 channels, stride 2": ((1, 256, 512, 64), 64, {"stride": 2}),
    "stem, stride 2, 1024 x 2048": ((1, 512, 1024, 64), 64, {"stride": 2}),
    "exchange, 48 to 96, stride 2": ((1, 128, 256, 48), 96, {"stride": 2}),
    "stage 1, 64": ((1, 128, 256, 64), 64, {}),
    "branch of 48": ((1, 128, 256, 48), 48, {}),
    "branch of 48, 1024 x 2048": ((1, 256, 512, 48), 48, {}),
    "branch of 96": ((1, 64, 128, 96), 96, {}),
    "branch of 192": ((1, 32, 64, 192), 192, {}),
    "branch of 384": ((1, 16, 32, 384), 384, {}),
    "OCR, 720 to 512": ((1, 128, 256, 720), 512, {}),
    "head, 512 to 256": ((1, 128, 256, 512), 256, {}),
    "pyramid, 2048 to 256, dilation 12": ((1, 64, 128, 2048), 256, {"dilation": 12}),
    "branch of 48, two images": ((2, 128, 256, 48), 48, {}),
    "branch of 96, two images": ((2, 64, 128, 96), 96, {}),
    "OCR, two images": ((2, 128, 256, 720), 512, {}),
}
MIB = 2**20


def main() -> None:
    targets = [target_lib.parse(name) for name in TARGETS]
    os.environ.update(target_lib.environment(targets[0]))
    jax.config.update("jax_platforms", "cpu")
    print(f"jax {jax.__version__}, {target_lib.compiler_version(targets[0])}\n")
    print("| chip | what | windows | rows | windows / rows | memory, windows | rows |")
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for target in targets:
        device = target_lib.described_devices(target)[0]
        for name, case in CASES.items():
            windows, rows = (cost_as(*case, form, device) for form in (False, True))
            print(
                f"| {target.chip.name} | {name}"
                f" | {1e3 * windows[0]:.3f} ms ({windows[1] / 1e3:.0f} k)"
                f" | {1e3 * rows[0]:.3f} ms ({rows[1] / 1e3:.0f} k)"
                f" | {windows[0] / rows[0]:.2f}"
                f" | {windows[2] / MIB:.0f} MiB | {rows[2] / MIB:.0f} MiB |",
                flush=True,
            )


def cost_as(shape, outputs, settings, rows_as_images: bool, device) -> tuple[float, int, int]:
    """The cost in one form, be it the one that the layer would choose or the other."""
    with unittest.mock.patch.object(Conv, "has_rows_as_images", return_value=rows_as_images):
        return cost(shape, outputs, settings, device)


def cost(shape, outputs, settings, device: jax.Device) -> tuple[float, int, int]:
    """Modelled seconds, the sum of the estimated cycles, and bytes of temporaries."""
    rng = np.random.default_rng(0)
    layer = ConvBN(shape[-1], outputs, Layer(jnp.dtype("bfloat16"), rng), kernel=3, **settings)
    layer.set_attributes(whole_rows=True)
    graphdef, *values = nnx.split(layer, nnx.Param, nnx.BatchStat)

    def run(params, statistics, x):
        layer = nnx.merge(graphdef, params, statistics, copy=True)
        return layer(x, train=True), nnx.state(layer, nnx.BatchStat)

    def step(params, statistics, x, cotangent):
        y, backward, moved = jax.vjp(
            lambda params, x: run(params, statistics, x), params, x, has_aux=True
        )
        return y, backward(cotangent), moved

    here = SingleDeviceSharding(device)

    def described(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree)

    arguments = described((*values, jax.ShapeDtypeStruct(shape, jnp.bfloat16)))
    y, _ = jax.eval_shape(run, *arguments)
    program = jax.jit(step).lower(*arguments, described(y)).compile()
    _, cycles = cycles_of(hlo.read(program.as_text()))
    return modelled_seconds(program), cycles, compiled.memory_of(program).temporaries


if __name__ == "__main__":
    main()
