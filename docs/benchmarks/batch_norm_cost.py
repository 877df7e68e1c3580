"""What moments about the mean cost in a train step, beside E[x^2] - E[x]^2, which cancels.

    python docs/benchmarks/batch_norm_cost.py

HRNet-W18 with OCR, scales 0.5 and 1, one crop of 256 x 512, float32, cross-entropy. The two steps
run in turns. Prints the medians and the median of the ratios, and the error of both where |mean| is
1000 deviations.
"""

import functools
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers import batch_norm
from hmsa_jax.training import optimizer
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.state import initial_state
from hmsa_jax.training.step import make_train_step

CROP, CLASSES, RUNS = (256, 512), 19, 9
NUMBERS = Hyperparameters(
    seed=0, learning_rate=0.01, poly_exponent=2.0, steps=1000, weight_decay=5e-4
)


def one_pass(x, running_mean, running_var, scale, bias, group, dtype, shares=(1, 1)):
    """`batch_norm.normalize_batch` for the whole batch, with one read for the moments."""
    wide = x.astype(scale.dtype)
    mean = wide.mean((0, 1, 2))
    var = jnp.maximum(jnp.square(wide).mean((0, 1, 2)) - jnp.square(mean), 0)
    y = ((wide - mean) * (scale * jax.lax.rsqrt(var + batch_norm.EPSILON)) + bias).astype(dtype)
    count = x.size // len(scale)
    new = mean, var * (count / max(count - 1, 1))
    moved = (
        (1 - batch_norm.MOMENTUM) * old + batch_norm.MOMENTUM * jax.lax.stop_gradient(value)
        for old, value in zip((running_mean, running_var), new, strict=True)
    )
    return y, *moved


EXACT = batch_norm.normalize_batch
FORMS = {
    "about the mean": EXACT,
    "one pass": jax.jit(one_pass, static_argnames=("group", "dtype", "shares")),
}


def main() -> None:
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    numbers = NUMBERS.on(sharding.replicated(mesh))
    steps, states, times = {}, {}, {name: [] for name in FORMS}
    batch = sharding.put_batch(a_batch(), sharding.training_batch(mesh))
    for name, form in FORMS.items():
        batch_norm.normalize_batch = form
        jax.clear_caches()
        architecture = multiscale.Architecture("w18", CLASSES)
        graphdef, *values = multiscale.initialize(
            architecture, dtype="float32", remat="none", seed=0
        )
        states[name] = initial_state(*values, sgd, sharding.replicated(mesh))
        step = make_train_step(
            graphdef, make_sgd, mesh, scales=(0.5, 1.0), objective=Objective("cross_entropy")
        )
        steps[name] = step.lower(states[name], numbers, batch).compile()
    for run in range(RUNS + 1):
        for name, step in steps.items():
            begin = time.perf_counter()
            states[name], metrics = jax.block_until_ready(step(states[name], numbers, batch))
            if run:  # the first one warms up
                times[name].append(time.perf_counter() - begin)
            elif name == "one pass":
                print(f"loss of the first step {float(metrics['loss']):.6f}")
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds):.3f} s, output off by {error(name):.1e}")
    pairs = zip(times["about the mean"], times["one pass"], strict=True)
    print(f"ratio: {statistics.median(a / b for a, b in pairs):.3f}")


def a_batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (1, *CROP, 3), np.uint8),
        "label": rng.integers(0, CLASSES, (1, *CROP), np.uint8),
    }


def error(name: str) -> float:
    """The largest error of the normalised output where |mean| is 1000 deviations."""
    x = np.random.default_rng(0).normal(1000, 1, (4, 32, 32, 8)).astype(np.float32)
    zeros, ones = np.zeros(8, np.float32), np.ones(8, np.float32)
    y, *_ = FORMS[name](x, zeros, ones, ones, zeros, 4, jnp.dtype("float32"))
    wide = np.float64(x)
    expected = (wide - wide.mean((0, 1, 2))) / np.sqrt(wide.var((0, 1, 2)) + batch_norm.EPSILON)
    return float(np.abs(y - expected).max())


if __name__ == "__main__":
    main()
