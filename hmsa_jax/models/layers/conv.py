"""Convolution, alone and with BatchNorm: the layers everything else is made of.

Parameters, statistics and the normalisation itself stay in float32 (or float64, when the
parameters are); `dtype` is the type of the convolutions and of the activations between layers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from hmsa_jax.models.layers.batch_norm import BatchNorm
from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.convolution import convolve
from hmsa_jax.models.layers.layer import Layer

_NARROW = 64  # channels; docs/results/tpu_speed.md has the measurements
CONVOLUTION = "convolution"  # the name of its result for policies of rematerialisation


class Conv(nnx.Module):
    """A 2-D convolution, padded so that stride 1 keeps the size and stride 2 halves it (up).

    The kernel is `[k, k, in, out]`, drawn from N(0, 2 / fan_in). A 1x1 convolution is written as a
    matrix product: on a CPU four to six times faster, and the same program on an accelerator.

    Args:
      inputs: channels of the input.
      outputs: channels of the output.
      layer: dtype to compute in and generator that the kernel is drawn from.
      kernel: odd size of the window.
      stride: step of the window.
      dilation: distance between the samples of the window.
      bias: whether a bias is added.

    Attributes:
      features_by_rows: `all`, `narrow` or `none`: the features that are convolved with rows as
        images, see `convolve`. A dilated convolution never is.
      whole_rows: whether no devices share out the rows of an image.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        layer: Layer,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ):
        shape = (kernel, kernel, inputs, outputs)
        deviation = np.float32((2 / (kernel * kernel * inputs)) ** 0.5)
        # Drawn on the host: no compilation, and the same network on every backend.
        kernel_values = deviation * layer.rng.standard_normal(shape, np.float32)
        self.kernel = nnx.Param(kernel_values)
        self.bias = nnx.Param(np.zeros(outputs, np.float32)) if bias else None
        self.stride = stride
        self.dilation = dilation
        self.dtype = layer.dtype
        self.features_by_rows = "all"
        self.whole_rows = False

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, inputs]` to `[B, ceil(H / stride), ceil(W / stride), outputs]`."""
        x = x.astype(self.dtype)
        kernel = self.kernel.get_value().astype(self.dtype)
        if len(kernel) == 1 and self.stride == 1:
            with jax.named_scope("product"):
                y = jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
        else:
            rows = self.has_rows_as_images(x.shape[-1]), self.whole_rows
            with jax.named_scope("convolution"):
                y = convolve(x, kernel, self.stride, self.dilation, *rows)
            y = checkpoint_name(y, CONVOLUTION)
        return y if self.bias is None else y + self.bias.get_value().astype(self.dtype)

    def has_rows_as_images(self, channels: int) -> bool:
        """Whether features of so many channels are computed with rows as images."""
        chosen = self.features_by_rows
        worth_it = chosen == "all" or (chosen == "narrow" and channels <= _NARROW)
        return worth_it and self.dilation == 1


class ConvBN(nnx.Module):
    """Convolution, BatchNorm and, unless `relu=False`, ReLU. Other arguments as in `Conv`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        layer: Layer,
        *,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        relu: bool = True,
    ):
        self.conv = Conv(
            inputs, outputs, layer, kernel=kernel, stride=stride, dilation=dilation, bias=bias
        )
        self.bn = BatchNorm(outputs, dtype=layer.dtype)
        self.relu = relu

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        x = self.bn(self.conv(x), train=train, canvas=canvas)
        return jax.nn.relu(x) if self.relu else x


class Sequence(nnx.Module):
    """Layers with a `train` argument, one after the other."""

    def __init__(self, *layers: nnx.Module):
        self.layers = nnx.List(layers)

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        for layer in self.layers:
            x = layer(x, train=train, canvas=canvas)
        return x
