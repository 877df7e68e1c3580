"""How long the two-scale train step of HRNet-W48 takes to trace and lower.

    python docs/benchmarks/trace_time.py

Abstract arrays only: nothing is compiled or run, whatever the crop.
"""

import functools
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.training import optimizer
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.state import initial_state
from hmsa_jax.training.step import make_train_step

CROP = (1024, 2048)
NUMBERS = Hyperparameters(
    seed=0, learning_rate=0.01, poly_exponent=2.0, steps=1000, weight_decay=5e-4
)
RUNS = 3


def main() -> None:
    architecture = multiscale.Architecture("w48", classes=19)
    graphdef, params, batch_stats = multiscale.initialize(
        architecture, dtype="bfloat16", remat="none", seed=0
    )
    mesh = sharding.make_mesh(-1, 1)
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    state = jax.eval_shape(
        lambda p, s: initial_state(p, s, sgd, sharding.replicated(mesh)), params, batch_stats
    )
    numbers = jax.eval_shape(lambda: NUMBERS.on(sharding.replicated(mesh)))
    batch_size = mesh.shape["data"]
    batch = {
        "image": jax.ShapeDtypeStruct((batch_size, *CROP, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((batch_size, *CROP), jnp.uint8),
    }
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f"HRNet-W48, {count / 1e6:.2f} M parameters, crop {CROP}, jax {jax.__version__}")
    times = []
    for _ in range(RUNS):
        jax.clear_caches()
        step = make_train_step(
            graphdef,
            make_sgd,
            mesh,
            scales=(0.5, 1.0),
            objective=Objective(scale_weight=0.05),
        )
        begin = time.perf_counter()
        traced = step.trace(state, numbers, batch)
        middle = time.perf_counter()
        traced.lower()
        end = time.perf_counter()
        times.append(end - begin)
        print(f"trace {middle - begin:.1f} s, lower {end - middle:.1f} s, both {times[-1]:.1f} s")
    print(f"median of {RUNS}: {statistics.median(times):.1f} s")


if __name__ == "__main__":
    main()
