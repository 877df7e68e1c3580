"""Rematerialisation: what the backward pass computes again rather than keep in memory."""

from collections.abc import Callable

import jax
from flax import nnx

from hmsa_jax.models.layers.batch_norm import MOMENTS
from hmsa_jax.models.layers.conv import CONVOLUTION

# What is kept of a module's activations: everything, nothing, or what one of jax's policies says.
# `dots_saveable` keeps the results of convolutions and matrix products. The moments of BatchNorm
# are small, and always kept: devices would have to wait for each other again.
POLICIES = {
    "none": None,
    "modules": jax.checkpoint_policies.save_only_these_names(MOMENTS),
    "dots_saveable": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_saveable,
        jax.checkpoint_policies.save_only_these_names(CONVOLUTION, MOMENTS),
    ),
}


def with_policy(run: Callable, name: str) -> Callable:
    """`run`, which computes again in the backward pass what the policy does not keep.

    Args:
      run: a function of a module and arrays; `jax.checkpoint` by itself would lose the running
        statistics that the module has moved.
      name: one of `POLICIES`.
    """
    policy = POLICIES[name]
    return run if policy is None else nnx.remat(run, policy=policy)
