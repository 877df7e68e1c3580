"""Batch normalisation, over the global batch or over groups of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

EPSILON = 1e-5
MOMENTUM = 0.1  # share of the new batch in the running statistics


class BatchNorm(nnx.Module):
    """Batch normalisation with the published momentum, epsilon and unbiased running variance.

    Statistics are those of the whole batch, or of groups of images. The batch is the global one
    under `jax.jit`, however it is sharded over devices: the cross-replica reduction comes from the
    sharding. `flax.nnx.BatchNorm` keeps the biased variance, rounds the statistics to `dtype` in
    evaluation, and traces in quadratic time.

    Args:
      channels: size of the last axis of the input.
      dtype: dtype of the output.

    Attributes:
      group: images, one after the other in the batch, whose statistics are taken together in
        training; 0 for all of them. The running statistics then move by the means over the groups
        of mean and unbiased variance, as if replicas of a group each had averaged theirs.
    """

    def __init__(self, channels: int, *, dtype: jnp.dtype):
        self.scale = nnx.Param(np.ones(channels, np.float32))
        self.bias = nnx.Param(np.zeros(channels, np.float32))
        self.mean = nnx.BatchStat(np.zeros(channels, np.float32))
        self.var = nnx.BatchStat(np.ones(channels, np.float32))
        self.dtype = dtype
        self.group = 0

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises; in training it updates the running statistics.

        Args:
          x: `[B, H, W, channels]`.
          train: with statistics of the batch, or with the running ones.

        Returns:
          The shape of `x`, in `dtype`.
        """
        scale, bias = self.scale.get_value(), self.bias.get_value()
        mean, var = self.mean.get_value(), self.var.get_value()
        if not train:
            return normalize(x, mean, var, scale, bias, self.dtype)
        group = self.group or x.shape[0]
        y, mean, var = normalize_batch(x, mean, var, scale, bias, group, self.dtype)
        # set_value: assigning through [...] asks a tracer for its sharding, at quadratic cost.
        self.mean.set_value(mean)
        self.var.set_value(var)
        return y


# Both are jitted so that a network of hundreds of layers traces each shape once.
@functools.partial(jax.jit, static_argnames="dtype")
def normalize(x, mean, var, scale, bias, dtype):
    """(x - mean) / sqrt(var + EPSILON) x scale + bias in the dtype of `scale`, then cast."""
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    shift = bias - mean * factor
    return (x.astype(scale.dtype) * factor + shift).astype(dtype)


@functools.partial(jax.jit, static_argnames=("group", "dtype"))
def normalize_batch(x, running_mean, running_var, scale, bias, group, dtype):
    """`normalize` with statistics of each `group` images; returns also the running ones, moved."""
    wide = x.astype(scale.dtype)
    mean = _mean_of_groups(wide, group)
    # One pass over the activations: both sums fuse into one read and one all-reduce.
    var = jnp.maximum(_mean_of_groups(jnp.square(wide), group) - jnp.square(mean), 0)
    count = group * x.size // (x.shape[0] * len(scale))
    unbiased = var * (count / max(count - 1, 1))

    def of_images(of_groups):
        if len(of_groups) > 1:
            of_groups = jnp.repeat(of_groups, group, axis=0)
        return of_groups[:, None, None]

    def move(running, of_groups):
        return (1 - MOMENTUM) * running + MOMENTUM * jax.lax.stop_gradient(of_groups.mean(0))

    y = normalize(wide, of_images(mean), of_images(var), scale, bias, dtype)
    return y, move(running_mean, mean), move(running_var, unbiased)


def _mean_of_groups(x: jax.Array, group: int) -> jax.Array:
    """The mean of each channel in each `group` images: `[B / group, channels]`."""
    if group == x.shape[0]:
        return x.mean((0, 1, 2))[None]
    # Images first: a group on one device needs no other, and others exchange [B, C] only.
    return x.mean((1, 2)).reshape(-1, group, x.shape[-1]).mean(1)
