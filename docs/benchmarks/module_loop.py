"""What a loop over equal modules of HRNet would save in compiling, and cost in a step, on a TPU.

    python docs/benchmarks/module_loop.py

The four modules of stage 3 of HRNet-W48, with one block a branch for brevity, forward and backward
in bfloat16 on the features of one image of 512 x 1024, written out one after the other and as the
body of a loop. Compiled for one chip; no TPU is needed, only `requirements-targets.txt`.
"""

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.trunks.hrnet import MultiResolutionModule
from hmsa_jax.performance import compiled, hlo
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import cycles_of, modelled_seconds
from hmsa_jax.training.step import laid_out_as_parameter

TARGET = "v5e"
WIDTHS, MODULES, BLOCKS = (48, 96, 192), 4, 1
ROWS, COLUMNS = 128, 256  # of the finest branch
MIB = 2**20


def written_out(modules, xs):
    """One module after the other."""
    for module in modules:
        xs = module(xs, train=True)
    return xs


def in_a_loop(modules, xs):
    """The same with one module, whose variables come from the stacks of all."""
    graphdef, _ = nnx.split(modules[0])
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *map(nnx.state, modules))

    def body(xs, state):
        module = nnx.merge(graphdef, state, copy=True)
        xs = module(xs, train=True)
        return xs, nnx.state(module, nnx.BatchStat)

    xs, moved = jax.lax.scan(body, xs, stacked)
    for i, module in enumerate(modules):
        nnx.update(module, jax.tree.map(lambda each, i=i: each[i], moved))
    return xs


def main() -> None:
    target = target_lib.parse(TARGET)
    os.environ.update(target_lib.environment(target))
    jax.config.update("jax_platforms", "cpu")
    device = target_lib.described_devices(target)[0]
    print(f"jax {jax.__version__}, {target_lib.compiler_version(target)}\n")
    print("| modules | compiled in | processor time | modelled time | cycles | temporaries |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    for run in (written_out, in_a_loop):
        lowered = lower(run, device)
        begin, work = time.perf_counter(), time.process_time()
        program = lowered.compile()
        seconds, work = time.perf_counter() - begin, time.process_time() - work
        modelled, memory = modelled_seconds(program), compiled.memory_of(program)
        assert modelled
        assert memory
        _, cycles = cycles_of(hlo.read(program.as_text()))
        print(
            f"| {run.__name__.replace('_', ' ')} | {seconds:.0f} s | {work:.0f} s"
            f" | {1e3 * modelled:.2f} ms | {cycles / 1e6:.2f} M"
            f" | {memory.temporaries / MIB:.0f} MiB |",
            flush=True,
        )


def lower(run, device: jax.Device) -> jax.stages.Lowered:
    """A step of gradient descent on the modules."""
    layer = Layer(jnp.dtype("bfloat16"), np.random.default_rng(0))
    modules = nnx.List(MultiResolutionModule(WIDTHS, BLOCKS, layer) for _ in range(MODULES))
    modules.set_attributes(whole_rows=True)
    graphdef, *values = nnx.split(modules, nnx.Param, nnx.BatchStat)

    def loss(params, statistics, xs):
        modules = nnx.merge(graphdef, params, statistics, copy=True)
        total = sum(y.astype(jnp.float32).sum() for y in run(modules, xs))
        return total, nnx.state(modules, nnx.BatchStat)

    def step(params, statistics, xs):
        gradients, moved = jax.grad(loss, argnums=(0, 2), has_aux=True)(params, statistics, xs)
        of_params = jax.tree.map(laid_out_as_parameter, gradients[0])
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, of_params), moved, gradients[1]

    shapes = [
        jax.ShapeDtypeStruct((1, ROWS >> i, COLUMNS >> i, width), jnp.bfloat16)
        for i, width in enumerate(WIDTHS)
    ]
    place = SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), (*values, shapes)
    )
    return jax.jit(step, donate_argnums=(0, 1)).lower(*arguments)


if __name__ == "__main__":
    main()
