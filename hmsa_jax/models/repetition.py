"""Equal modules one after the other, as a loop whose body is compiled once.

HRNet repeats the same module up to four times, and a compiler for TPUs takes minutes for each.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

SETTINGS = ("auto", "always", "never")


def is_wanted(setting: str, platform: str, remat: str) -> bool:
    """Whether to loop: `auto`, one of `SETTINGS`, does on a TPU where it costs little.

    What the backward pass needs of each round of a loop is copied into one array for all rounds
    and out of it again. That is little only if modules are computed again from what they are given.
    """
    return setting == "always" or (setting == "auto" and platform == "tpu" and remat == "modules")


def run_in_turn(modules: Sequence[nnx.Module], x, run: Callable, *, loop: bool):
    """Runs modules one after the other, and moves their running statistics.

    Args:
      modules: in the order to run them; to loop they may differ only in the values of their
        parameters and statistics.
      x: what the first is given, a tree of arrays; each returns the like of what it is given.
      run: `(module, x) -> x`.
      loop: whether to write them as a `jax.lax.scan` over those values; the numbers are the same.

    Returns:
      What the last one returns.
    """
    if not loop or len(modules) <= 1:
        for module in modules:
            x = run(module, x)
        return x
    graphdef = nnx.split(modules[0], nnx.Param, nnx.BatchStat)[0]
    states = [nnx.split(module, nnx.Param, nnx.BatchStat)[1:] for module in modules]

    def body(x, state):
        module = nnx.merge(graphdef, *state, copy=True)
        x = run(module, x)
        return x, nnx.split(module, nnx.Param, nnx.BatchStat)[2]

    stacked = jax.tree.map(lambda *values: jnp.stack(values), *states)
    x, statistics = jax.lax.scan(body, x, stacked)
    for i, module in enumerate(modules):
        nnx.update(module, jax.tree.map(lambda values, i=i: values[i], statistics))
    return x
