"""What region mutual information adds to a train step of HRNet-W48: time, memory and FLOPs.

    python docs/benchmarks/rmi_cost.py

Two scales (0.5 and 1), one image of 512 x 1024, 19 classes, float32 (a CPU emulates bfloat16),
activations recomputed. The step with RMI and the one with binary cross-entropy alone, which is the
other half of the same loss, run in turns; their difference is RMI's.
"""

import functools
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.training import optimizer
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.state import initial_state
from hmsa_jax.training.step import make_train_step

CROP, CLASSES, RUNS = (512, 1024), 19, 3
NUMBERS = Hyperparameters(
    seed=0, learning_rate=0.01, poly_exponent=2.0, steps=1000, weight_decay=5e-4
)
GIB = 2**30


def main() -> None:
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    graphdef, params, batch_stats = multiscale.initialize(
        multiscale.Architecture("w48", CLASSES), dtype="float32", remat="modules", seed=0
    )
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    state = initial_state(params, batch_stats, sgd, sharding.replicated(mesh))
    batch = sharding.put_batch(a_batch(), sharding.training_batch(mesh))
    numbers = NUMBERS.on(sharding.replicated(mesh))
    steps, times = {}, {}
    for loss in ("rmi", "binary_cross_entropy"):
        step = make_train_step(
            graphdef, make_sgd, mesh, scales=(0.5, 1.0), objective=Objective(main_loss=loss)
        )
        begin = time.perf_counter()
        steps[loss] = step.lower(state, numbers, batch).compile()
        memory = steps[loss].memory_analysis().temp_size_in_bytes / GIB
        flops = steps[loss].cost_analysis()["flops"] / 1e12
        print(
            f"{loss}: compiled in {time.perf_counter() - begin:.0f} s,"
            f" temporaries {memory:.2f} GiB, {flops:.3f} TFLOP",
            flush=True,
        )
        times[loss] = []
    for run in range(RUNS + 1):  # the first is not counted
        for loss, step in steps.items():
            begin = time.perf_counter()
            state, metrics = jax.block_until_ready(step(state, numbers, batch))
            if run:
                times[loss].append(time.perf_counter() - begin)
                print(f"{loss}: {times[loss][-1]:.2f} s, loss {metrics['loss']:.4f}", flush=True)
    rmi, bce = (statistics.median(times[loss]) for loss in steps)
    print(f"medians: {rmi:.2f} s and {bce:.2f} s; RMI's share of the time {1 - bce / rmi:.1%}")


def a_batch() -> dict[str, np.ndarray]:
    """Noise, labelled in blocks of 32 x 32 pixels, with some pixels ignored."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, CLASSES, (1, CROP[0] // 32, CROP[1] // 32), np.uint8)
    label = blocks.repeat(32, 1).repeat(32, 2)
    label[:, -20:] = 255
    return {"image": rng.integers(0, 256, (1, *CROP, 3), np.uint8), "label": label}


if __name__ == "__main__":
    main()
