"""Sums over the pixels of each image by group, such as the class of a pixel, in integers.

The groups are gone through one after the other, so that no array has an axis of pixels and one of
groups.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

_WORD = 2**16


def counts(groups: jax.Array, masks: Sequence[jax.Array], number: int) -> jax.Array:
    """How many pixels of each group are in each mask.

    Two masks share an integer, whose halves count them: half as much to read. Columns are summed
    first, which a CPU does for many columns at once.

    Args:
      groups: integers `[B, H, W]`, with H below 2^16; pixels of other groups are not counted.
      masks: bool `[B, H, W]` each.
      number: of the groups, from 0.

    Returns:
      int32 `[B, number, masks]`.

    >>> groups = jnp.array([[[0, 1, 1], [1, 2, 255]]])
    >>> counts(groups, [groups > 0, groups == 2], 3).tolist()
    [[[0, 0], [3, 0], [1, 1]]]
    """
    pairs = [(a, b) for a, b in zip(masks[::2], [*masks[1::2], None], strict=False)]
    packed = [
        a.astype(jnp.uint32) if b is None else a.astype(jnp.uint32) + b.astype(jnp.uint32) * _WORD
        for a, b in pairs
    ]
    halves = [half for pair in _column_sums(groups, packed, number) for half in pair]
    return jnp.stack(halves[: len(masks)], -1)


def sums(groups: jax.Array, values: jax.Array, number: int) -> jax.Array:
    """The sum of values by group, which is exact but for the last rounding.

    Args:
      groups: as for `counts`.
      values: float32 `[B, H, W]` in [0, 1], which are rounded to multiples of 2^-16.
      number: of the groups, from 0.

    Returns:
      float32 `[B, number]`.

    >>> sums(jnp.array([[[0, 1, 1]]]), jnp.array([[[0.5, 0.25, 1.0]]]), 2).tolist()
    [[0.5, 1.25]]
    """
    fixed = jnp.round(values * _WORD).astype(jnp.uint32)
    ((low, high),) = _column_sums(groups, [fixed], number)
    return high.astype(jnp.float32) + low.astype(jnp.float32) / _WORD


def _column_sums(
    groups: jax.Array, values: Sequence[jax.Array], number: int
) -> list[tuple[jax.Array, jax.Array]]:
    """The lower and the upper 16 bits of each column's sum, added over the columns.

    Args:
      groups: as for `counts`.
      values: uint32 `[B, H, W]` each, whose sums over a column are below 2^32.
      number: as for `counts`.

    Returns:
      For each of the values two arrays `[B, number]`, int32 and not below 0.
    """

    def of_group(group):
        chosen = groups == group
        columns = [jnp.where(chosen, value, 0).sum(1) for value in values]
        return [
            ((c % _WORD).sum(-1, dtype=jnp.uint32), (c // _WORD).sum(-1, dtype=jnp.uint32))
            for c in columns
        ]

    of_each = jax.lax.map(of_group, jnp.arange(number, dtype=groups.dtype))
    return jax.tree.map(lambda x: x.astype(jnp.int32).T, of_each)
