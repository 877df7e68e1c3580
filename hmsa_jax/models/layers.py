"""Convolution and BatchNorm, the two layers everything else is made of.

Parameters, statistics and the normalisation itself stay in float32 (or float64, when the
parameters are); `dtype` is the type of the convolutions and of the activations between layers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

EPSILON = 1e-5
MOMENTUM = 0.1  # share of the new batch in the running statistics
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Conv(nnx.Module):
    """A 2-D convolution, padded so that stride 1 keeps the size and stride 2 halves it (up).

    The kernel is `[k, k, in, out]`, drawn from N(0, 2 / fan_in). A 1x1 convolution is written as a
    matrix product: on a CPU four to six times faster, and the same program on an accelerator.

    Args:
      inputs: channels of the input.
      outputs: channels of the output.
      kernel: odd size of the window.
      stride: step of the window.
      dilation: distance between the samples of the window.
      bias: whether a bias is added.
      dtype: dtype to compute in.
      rng: generator that the kernel is drawn from.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        dtype: jnp.dtype,
        rng: np.random.Generator,
    ):
        shape = (kernel, kernel, inputs, outputs)
        deviation = np.float32((2 / (kernel * kernel * inputs)) ** 0.5)
        # Drawn on the host: no compilation, and the same network on every backend.
        kernel_values = deviation * rng.standard_normal(shape, np.float32)
        self.kernel = nnx.Param(kernel_values)
        self.bias = nnx.Param(np.zeros(outputs, np.float32)) if bias else None
        self.stride = stride
        self.dilation = dilation
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, inputs]` to `[B, ceil(H / stride), ceil(W / stride), outputs]`."""
        x = x.astype(self.dtype)
        kernel = self.kernel.get_value().astype(self.dtype)
        size = kernel.shape[0]
        if size == 1 and self.stride == 1:
            y = jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
        else:
            y = jax.lax.conv_general_dilated(
                x,
                kernel,
                window_strides=(self.stride, self.stride),
                padding=[(size // 2 * self.dilation,) * 2] * 2,
                rhs_dilation=(self.dilation, self.dilation),
                dimension_numbers=_DIMENSIONS,
            )
        if self.bias is not None:
            y = y + self.bias.get_value().astype(self.dtype)
        return y


class BatchNorm(nnx.Module):
    """Batch normalisation with the published momentum, epsilon and unbiased running variance.

    Under `jax.jit` with the batch sharded over devices the mean is that of the global batch: the
    cross-replica reduction comes from the sharding. `flax.nnx.BatchNorm` keeps the biased
    variance, rounds the statistics to `dtype` in evaluation, and traces in quadratic time.

    Args:
      channels: size of the last axis of the input.
      dtype: dtype of the output.
    """

    def __init__(self, channels: int, *, dtype: jnp.dtype):
        self.scale = nnx.Param(np.ones(channels, np.float32))
        self.bias = nnx.Param(np.zeros(channels, np.float32))
        self.mean = nnx.BatchStat(np.zeros(channels, np.float32))
        self.var = nnx.BatchStat(np.ones(channels, np.float32))
        self.dtype = dtype

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises `[B, H, W, channels]`; in training it updates the running statistics."""
        scale, bias = self.scale.get_value(), self.bias.get_value()
        mean, var = self.mean.get_value(), self.var.get_value()
        if not train:
            return normalize(x, mean, var, scale, bias, self.dtype)
        y, mean, var = normalize_batch(x, mean, var, scale, bias, self.dtype)
        # set_value: assigning through [...] asks a tracer for its sharding, at quadratic cost.
        self.mean.set_value(mean)
        self.var.set_value(var)
        return y


# Both are jitted so that a network of hundreds of layers traces each shape once.
@functools.partial(jax.jit, static_argnames="dtype")
def normalize(x, mean, var, scale, bias, dtype):
    """(x - mean) / sqrt(var + EPSILON) x scale + bias in the dtype of `scale`, then cast."""
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return (x.astype(scale.dtype) * factor + (bias - mean * factor)).astype(dtype)


@functools.partial(jax.jit, static_argnames="dtype")
def normalize_batch(x, running_mean, running_var, scale, bias, dtype):
    """`normalize` with the batch's own statistics; returns also the running ones, moved."""
    wide = x.astype(scale.dtype)
    mean = wide.mean((0, 1, 2))
    # One pass over the activations: both sums fuse into one read and one all-reduce.
    var = jnp.maximum(jnp.square(wide).mean((0, 1, 2)) - jnp.square(mean), 0)
    count = x.size // x.shape[-1]
    unbiased = var * (count / max(count - 1, 1))

    def move(running, batch_value):
        return (1 - MOMENTUM) * running + MOMENTUM * jax.lax.stop_gradient(batch_value)

    y = normalize(wide, mean, var, scale, bias, dtype)
    return y, move(running_mean, mean), move(running_var, unbiased)


class ConvBN(nnx.Module):
    """Convolution, BatchNorm and, unless `relu=False`, ReLU. Other arguments as in `Conv`."""

    def __init__(
        self, inputs: int, outputs: int, *, relu: bool = True, dtype: jnp.dtype, **convolution
    ):
        self.conv = Conv(inputs, outputs, dtype=dtype, **convolution)
        self.bn = BatchNorm(outputs, dtype=dtype)
        self.relu = relu

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.bn(self.conv(x), train=train)
        return jax.nn.relu(x) if self.relu else x


class Sequence(nnx.Module):
    """Layers with a `train` argument, one after the other."""

    def __init__(self, *layers: nnx.Module):
        self.layers = nnx.List(layers)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for layer in self.layers:
            x = layer(x, train=train)
        return x
