"""A border that a CPU's compiler does not fuse across.

XLA for CPUs fuses elementwise operations with all that read them, however many those are. In a
residual network every sum then computes the sums before it again, back to the first block, and the
backward pass does so in another order of the axes. `jax.lax.optimization_barrier` is gone before
that pass; a conditional is not. docs/results/pytorch_cpu.md has the measurements.
"""

import jax
import jax.numpy as jnp


def materialize(x):
    """Stores arrays in memory on a CPU, forward and backward, before anything reads them.

    Args:
      x: arrays of any shape and dtype, in any tree.
    """
    return jax.lax.platform_dependent(x, cpu=_through_conditional, default=lambda x: x)


def _through_conditional(x):
    # Without the barrier, or with twice the same branch, the conditional would be simplified away.
    always = jax.lax.optimization_barrier(jnp.bool_(True))
    return jax.lax.cond(always, lambda x: x, lambda x: jax.tree.map(jnp.zeros_like, x), x)
