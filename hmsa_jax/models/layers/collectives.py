"""What devices tell each other of their shares of a batch: all that BatchNorm needs.

In the backward pass either function turns into the other. `models.merging` finds them by their
names in a traced network, and does those together that do not wait for each other.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


@jax.jit
def known_to_all(own: jax.Array) -> jax.Array:
    """Values of each share, `[groups, shares, C]`, on all devices: one all-reduce.

    It is a sum of what is zero but for the own share.
    """
    is_own = jnp.eye(own.shape[1], dtype=bool)[..., None]
    return jnp.where(is_own, own[:, None], 0).sum(2)


@functools.partial(jax.jit, static_argnames="shares")
def to_each_share(values: jax.Array, shares: int) -> jax.Array:
    """Values that all devices know, `[groups, 1, C]`, once for each share: `[groups, shares, C]`.

    Nothing travels; the gradients of the shares are added up in one all-reduce.
    """
    groups, _, channels = values.shape
    return jnp.broadcast_to(values, (groups, shares, channels))


COLLECTIVES: dict[str, Callable[[jax.Array, int], jax.Array]] = {
    "known_to_all": lambda own, shares: known_to_all(own),
    "to_each_share": to_each_share,
}
"""By the name in a traced network: `(values, shares) -> [groups, shares, C]`."""
