"""Batch normalisation, over the global batch or over groups of images."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from hmsa_jax.models.layers import collectives
from hmsa_jax.models.layers.canvas import FILLED, Canvas

EPSILON = 1e-5
MOMENTUM = 0.1  # share of the new batch in the running statistics
MOMENTS = "moments"  # the name of a batch's statistics for policies of rematerialisation


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
      shares: into how many equal shares devices divide the batch and the rows of an image. What
        is computed does not depend on it, but how often devices wait for each other.
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
        self.shares = (1, 1)

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        """Normalises; in training it updates the running statistics.

        Args:
          x: `[B, H, W, channels]`.
          train: with statistics of the batch, or with the running ones.
          canvas: of the images, in evaluation.

        Returns:
          The shape of `x`, in `dtype`, zero outside of the images: so are all features that follow.
        """
        scale, bias = self.scale.get_value(), self.bias.get_value()
        mean, var = self.mean.get_value(), self.var.get_value()
        if not train:
            return canvas.clear(normalize(x, mean, var, scale, bias, self.dtype))
        group = self.group or x.shape[0]
        y, mean, var = normalize_batch(x, mean, var, scale, bias, group, self.dtype, self.shares)
        # set_value: assigning through [...] asks a tracer for its sharding, at quadratic cost.
        self.mean.set_value(mean)
        self.var.set_value(var)
        return y


# Both are jitted so that a network of hundreds of layers traces each shape once.
@functools.partial(jax.jit, static_argnames="dtype")
@jax.named_scope("normalization")
def normalize(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    dtype: jnp.dtype,
) -> jax.Array:
    """(x - mean) / sqrt(var + EPSILON) x scale + bias in the dtype of `scale`, then cast."""
    # Not x x factor + shift: where |mean| is large beside the deviation both are, and cancel.
    return ((x.astype(scale.dtype) - mean) * _factor(var, scale) + bias).astype(dtype)


@functools.partial(jax.jit, static_argnames=("group", "dtype", "shares"))
def normalize_batch(
    x: jax.Array,
    running_mean: jax.Array,
    running_var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    group: int,
    dtype: jnp.dtype,
    shares: tuple[int, int] = (1, 1),
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`normalize` with statistics of each `group` images; returns also the running ones, moved.

    Each share takes moments about a centre of its own, and the shares are combined as by Chan,
    Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
    (1979): one exchange of moments between devices. See `_centre` for what the centre costs.
    """
    split = _Split.of(x.shape, group, shares)
    with jax.named_scope("statistics"):
        deviation, own = _about_centre(x, running_mean.astype(scale.dtype), split)
        of_all = own if split.shares == 1 else _known_to_all(own)
        mean, var = _combined(of_all)
    with jax.named_scope("normalization"):
        factor = _factor(var, scale)  # [groups, 1, channels], as mean and var
        shift = bias - mean * factor
        if split.shares > 1:
            factor, shift = _to_each_share(factor, shift, own, of_all, split)
        y = (deviation * split.spread(factor) + split.spread(shift)).astype(dtype)

    def move(running, of_groups):
        return (1 - MOMENTUM) * running + MOMENTUM * jax.lax.stop_gradient(of_groups.mean((0, 1)))

    count = group * x.size // (x.shape[0] * len(scale))
    unbiased = var * (count / max(count - 1, 1))
    return y, move(running_mean, of_all.centre[:, :1] + mean), move(running_var, unbiased)


class _Moments(NamedTuple):
    """Of each channel in each share, `[groups, shares, C]` each.

    Attributes:
      centre: what the others are seen from, about the mean.
      rest: mean of the deviations from the centre.
      within: variance of the deviations.
    """

    centre: jax.Array
    rest: jax.Array
    within: jax.Array


@functools.partial(jax.jit, static_argnames="split")
def _about_centre(
    x: jax.Array, running_mean: jax.Array, split: "_Split"
) -> tuple[jax.Array, _Moments]:
    """Deviations from a centre of each share, and each share's moments."""
    centre = _centre(x, running_mean, split)
    deviation = x.astype(centre.dtype) - split.spread(centre)
    # About the mean, this is what its rounding left, which would be off by |mean| x 2^-24.
    rest = checkpoint_name(split.mean(deviation), MOMENTS)
    within = split.mean(jnp.square(deviation)) - jnp.square(rest)
    return deviation, _Moments(centre, rest, checkpoint_name(within, MOMENTS))


def _centre(x: jax.Array, running_mean: jax.Array, split: "_Split") -> jax.Array:
    """The running mean for bfloat16, the mean itself, a read of `x` more, for all else.

    About another centre than the mean the variance is a difference, E[d^2] - E[d]^2, of which
    digits are lost where |mean - centre| is large beside the deviation. The running mean is near.
    In the first steps, where it is still 0, what is lost is no more than the rounding of `x` to
    bfloat16 has changed: both grow as (mean / deviation)^2.
    """
    if x.dtype == jnp.bfloat16:
        shape = (split.groups, split.shares, x.shape[-1])
        return jnp.broadcast_to(running_mean, shape)
    mean = split.mean(x.astype(running_mean.dtype))
    return checkpoint_name(jax.lax.stop_gradient(mean), MOMENTS)


@jax.jit
def _combined(moments: _Moments) -> tuple[jax.Array, jax.Array]:
    """Mean, seen from the first share's centre, and variance of each group: `[groups, 1, C]`."""
    centre, rest, within = moments
    if centre.shape[1] == 1:
        return rest, jnp.maximum(within, 0)
    means = centre - centre[:, :1] + rest
    mean = means.mean(1, keepdims=True)
    between = jnp.square(means - mean).mean(1, keepdims=True)
    return mean, jnp.maximum(within.mean(1, keepdims=True) + between, 0)


def _known_to_all(own: _Moments) -> _Moments:
    """The moments of all shares on all devices, in one exchange."""
    of_all = collectives.known_to_all(jnp.concatenate(own, axis=-1))
    return _Moments(*jnp.split(checkpoint_name(of_all, MOMENTS), len(own), axis=-1))


def _to_each_share(
    factor: jax.Array, shift: jax.Array, own: _Moments, of_all: _Moments, split: "_Split"
) -> tuple[jax.Array, jax.Array]:
    """Factor and shift of each share, `[groups, shares, C]`; the shift is from its own centre."""
    values = collectives.to_each_share(jnp.concatenate([factor, shift], axis=-1), split.shares)
    factor, shift = jnp.split(values, 2, axis=-1)
    return factor, shift + jax.lax.stop_gradient(own.centre - of_all.centre[:, :1]) * factor


def _factor(var, scale):
    return scale * jax.lax.rsqrt(var + EPSILON)


class _Split(NamedTuple):
    """How a batch falls into groups, and these into shares of images and of rows.

    Attributes:
      groups: of the batch.
      i: shares of the images of a group.
      images: of a share.
      j: shares of the rows of an image.
      rows: of a share.
    """

    groups: int
    i: int
    images: int
    j: int
    rows: int

    @property
    def shares(self) -> int:
        """Of a group."""
        return self.i * self.j

    @classmethod
    def of(cls, shape: tuple[int, ...], group: int, shares: tuple[int, int]) -> "_Split":
        batch, rows = shape[:2]
        of_batch, of_rows = shares
        # What the shares do not divide, as the single row of a pooled image, stays whole.
        images = batch // of_batch if batch % of_batch == 0 else batch
        i = group // images if group % images == 0 else 1
        j = of_rows if rows % of_rows == 0 else 1
        return cls(batch // group, i, group // i, j, rows // j)

    def mean(self, x: jax.Array) -> jax.Array:
        """The mean of each channel in each share: `[B, H, W, C]` to `[groups, i x j, C]`."""
        # The large array keeps its shape where it can: a TPU then adds up what leaves the
        # convolution, without a read.
        channels = x.shape[-1]
        if self.groups * self.i * self.j == 1:
            return x.mean((0, 1, 2))[None, None]
        if self.j == 1:
            of_images = x.mean((1, 2))
        else:
            of_images = x.reshape(-1, self.j, self.rows, *x.shape[2:]).mean((2, 3))
        of_images = of_images.reshape(self.groups, self.i, self.images, self.j, channels)
        return of_images.mean(2).reshape(self.groups, -1, channels)

    def spread(self, values: jax.Array) -> jax.Array:
        """Repeats the values of each share, or group, for its pixels: `[B or 1, H or 1, 1, C]`."""
        groups, of_group, channels = values.shape
        if groups * of_group == 1:
            return values[:, :, None]
        i, j = (self.i, self.j) if of_group > 1 else (1, 1)
        rows = self.rows if j > 1 else 1
        values = values.reshape(groups, i, 1, j, 1, channels)
        images = self.i * self.images // i
        values = jnp.broadcast_to(values, (groups, i, images, j, rows, channels))
        return values.reshape(groups * i * images, j * rows, 1, channels)
