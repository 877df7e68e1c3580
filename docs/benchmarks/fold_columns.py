"""What folding columns into channels saves on a TPU, by the compiler's own model.

    python docs/benchmarks/fold_columns.py

Four basic blocks of one branch, forward and backward, bfloat16, one image at stride 4 of the
paper's crop, compiled for one chip; no TPU is needed, only `requirements-targets.txt`.
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from hmsa_jax import compiled
from hmsa_jax.models import column_folding
from hmsa_jax.models.hrnet import Branch
from hmsa_jax.targets import target as target_lib
from hmsa_jax.targets.modelled_time import modelled_seconds

TARGETS = ("v5e:2x2", "v6e:2x2")  # of which the first chip
BLOCKS, ROWS, COLUMNS = 4, 256, 512
CHANNELS = (18, 32, 36, 48, 64)  # of the narrow branches of w18, w32 and w48
MIB = 2**20


def main() -> None:
    targets = [target_lib.parse(name) for name in TARGETS]
    os.environ.update(target_lib.environment(targets[0]))
    jax.config.update("jax_platforms", "cpu")
    column_folding.WIDEST = max(CHANNELS)  # what is not folded, too, to see why
    print(f"jax {jax.__version__}, {target_lib.compiler_version(targets[0])}\n")
    print("| chip | channels | time, plain | folded | plain / folded | memory, plain | folded |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for target in targets:
        device = target_lib.described_devices(target)[0]
        for channels in CHANNELS:
            plain, folded = (cost(channels, fold, device) for fold in (False, True))
            print(
                f"| {target.chip.name} | {channels}"
                f" | {1e3 * plain[0]:.1f} ms | {1e3 * folded[0]:.1f} ms"
                f" | {plain[0] / folded[0]:.2f}"
                f" | {plain[1] / MIB:.0f} MiB | {folded[1] / MIB:.0f} MiB |",
                flush=True,
            )


def cost(channels: int, fold_columns: bool, device: jax.Device) -> tuple[float, int]:
    """Modelled seconds and bytes of temporaries of a branch."""
    branch = Branch(
        channels,
        BLOCKS,
        fold_columns=fold_columns,
        dtype=jnp.bfloat16,
        rng=np.random.default_rng(0),
    )
    graphdef, *values = nnx.split(branch, nnx.Param, nnx.BatchStat)

    def loss(params, statistics, x):
        branch = nnx.merge(graphdef, params, statistics, copy=True)
        y = branch(x, train=True)
        return jnp.square(y.astype(jnp.float32)).mean(), nnx.state(branch, nnx.BatchStat)

    image = jax.ShapeDtypeStruct((1, ROWS, COLUMNS, channels), jnp.bfloat16)
    here = SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), (*values, image)
    )
    step = jax.jit(jax.value_and_grad(loss, (0, 2), has_aux=True))
    program = step.lower(*arguments).compile()
    seconds = modelled_seconds(program)
    return seconds, compiled.memory_of(program).temporaries


if __name__ == "__main__":
    main()
