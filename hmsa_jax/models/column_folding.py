"""Pairs of columns folded into channels, for narrow features on a TPU.

A TPU holds channels in lanes, 128 at a time: features of 48 channels take the memory and the
traffic of 128. With two columns side by side in the channels, `[B, H, W, C]` becomes
`[B, H, W / 2, 2 C]` and fills twice as many lanes. A 3x3 convolution stays a 3x3 convolution, on
pairs of columns; half of its kernel is zeros: it multiplies twice as much and takes less time.
"""

import jax
import jax.numpy as jnp

SETTINGS = ("auto", "always", "never")
WIDEST = 48  # channels that are worth folding; docs/results/fold_columns.md has the measurements


def is_wanted(setting: str, platform: str) -> bool:
    """Whether to fold: `auto`, one of `SETTINGS`, folds where the platform is `tpu`."""
    return setting == "always" or (setting == "auto" and platform == "tpu")


def can_fold(x: jax.Array) -> bool:
    """Whether `[B, H, W, C]` has pairs of columns, and so few channels that folding helps."""
    return x.shape[-1] <= WIDEST and x.shape[2] % 2 == 0


def fold(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` as `[B, H, W / 2, 2 C]`: the left column's channels, then the right one's."""
    batch, rows, columns, channels = x.shape
    return x.reshape(batch, rows, columns // 2, 2 * channels)


def unfold(x: jax.Array) -> jax.Array:
    """The inverse of `fold`."""
    batch, rows, pairs, channels = x.shape
    return x.reshape(batch, rows, 2 * pairs, channels // 2)


def fold_vector(per_channel: jax.Array) -> jax.Array:
    """Values of the channels, `[..., C]`, for both columns: `[..., 2 C]`."""
    return jnp.concatenate([per_channel, per_channel], axis=-1)


def mean_of_columns(per_channel: jax.Array) -> jax.Array:
    """The mean of both columns' values, `[..., 2 C]`: `[..., C]`."""
    return per_channel.reshape(*per_channel.shape[:-1], 2, -1).mean(-2)


def fold_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel that does to folded features what `kernel` does to plain ones, at stride 1.

    A pair of columns sees itself and its neighbours, six columns: its left one reads the second to
    the fourth of them, its right one the third to the fifth.

    Args:
      kernel: `[3, 3, C, D]`.

    Returns:
      `[3, 3, 2 C, 2 D]`, half of it zeros.
    """
    size, _, inputs, outputs = kernel.shape

    def reading_from(column):
        six = jnp.pad(kernel, ((0, 0), (column, 3 - column), (0, 0), (0, 0)))
        return six.reshape(size, 3, 2 * inputs, outputs)

    return jnp.concatenate([reading_from(1), reading_from(2)], axis=-1)
