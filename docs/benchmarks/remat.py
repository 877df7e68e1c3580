"""What each policy of `model.remat` takes: memory of a whole train step, time of a piece of it.

    python docs/benchmarks/remat.py h100
    python docs/benchmarks/remat.py v5e

For an H100 the compiler says how much memory the two-scale step of HRNet-W48 takes, bfloat16, one
image of the paper's crop. For a v5e it also says how long it expects a piece to take: two modules
of the last stage, one after the other, forward and backward. Neither has to be there;
`requirements-targets.txt` has the compilers.
"""

import functools
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.remat import POLICIES, with_policy
from hmsa_jax.models.trunks.hrnet import SIZES, MultiResolutionModule
from hmsa_jax.performance import compiled
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import modelled_seconds
from hmsa_jax.training import optimizer
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.state import initial_state
from hmsa_jax.training.step import make_train_step

TARGETS = {"h100": "h100:1", "v5e": "v5e:2x2"}  # of which the first device
CROP, CLASSES, MODULES = (1024, 2048), 19, 2
NUMBERS = Hyperparameters(
    seed=0, learning_rate=0.01, poly_exponent=2.0, steps=1000, weight_decay=5e-4
)
MIB = 2**20


def main() -> None:
    target = target_lib.parse(TARGETS[sys.argv[1]])
    os.environ.update(target_lib.environment(target))
    jax.config.update("jax_platforms", "cpu")
    device = target_lib.described_devices(target)[0]
    compile_with = compile_step if target.platform == "cuda" else compile_pair
    print(f"{target.chip.name}, jax {jax.__version__}, {target_lib.compiler_version(target)}\n")
    print("| `model.remat` | temporaries | modelled time |")
    print("|---|---:|---:|", flush=True)
    for policy in POLICIES:
        program = compile_with(policy, device)
        seconds = modelled_seconds(program)
        print(
            f"| `{policy}` | {compiled.memory_of(program).temporaries / MIB:.0f} MiB"
            f" | {f'{1e3 * seconds:.1f} ms' if seconds else ''} |",
            flush=True,
        )


def compile_step(policy: str, device: jax.Device) -> jax.stages.Compiled:
    """The train step with the paper's losses."""
    mesh = sharding.make_mesh(1, 1, [device])
    graphdef, *values = multiscale.initialize(
        multiscale.Architecture("w48", CLASSES), dtype="bfloat16", remat=policy, seed=0
    )
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    state = jax.eval_shape(lambda *v: initial_state(*v, sgd, sharding.replicated(mesh)), *values)
    numbers = jax.eval_shape(lambda: NUMBERS.on(sharding.replicated(mesh)))
    batch = {
        "image": jax.ShapeDtypeStruct((1, *CROP, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((1, *CROP), jnp.uint8),
    }
    objective = Objective(scale_weight=0.05)
    step = make_train_step(graphdef, make_sgd, mesh, scales=(0.5, 1.0), objective=objective)
    return step.lower(state, numbers, batch).compile()


def compile_pair(policy: str, device: jax.Device) -> jax.stages.Compiled:
    """Loss, gradients and running statistics of two modules."""
    widths = SIZES["w48"].widths
    layer = Layer(jnp.dtype("bfloat16"), np.random.default_rng(0))
    modules = nnx.List(MultiResolutionModule(widths, 4, layer) for _ in range(MODULES))
    graphdef, *values = nnx.split(modules, nnx.Param, nnx.BatchStat)
    run = with_policy(lambda module, xs: module(xs, train=True), policy)

    def loss(params, statistics, xs):
        modules = nnx.merge(graphdef, params, statistics, copy=True)
        for module in modules:
            xs = run(module, xs)
        total = sum(jnp.square(x.astype(jnp.float32)).mean() for x in xs)
        return total, nnx.state(modules, nnx.BatchStat)

    branches = [
        jax.ShapeDtypeStruct((1, CROP[0] >> i, CROP[1] >> i, width), jnp.bfloat16)
        for i, width in enumerate(widths, start=2)
    ]
    here = SingleDeviceSharding(device)
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), (*values, branches)
    )
    step = jax.jit(jax.value_and_grad(loss, (0, 2), has_aux=True))
    return step.lower(*arguments).compile()


if __name__ == "__main__":
    main()
