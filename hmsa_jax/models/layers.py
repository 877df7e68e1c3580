"""Convolution, alone and with BatchNorm: the layers everything else is made of.

Parameters, statistics and the normalisation itself stay in float32 (or float64, when the
parameters are); `dtype` is the type of the convolutions and of the activations between layers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hmsa_jax.models.batch_norm import BatchNorm
from hmsa_jax.models.column_folding import fold_kernel, fold_vector

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

    def __call__(self, x: jax.Array, *, folded: bool = False) -> jax.Array:
        """Convolves.

        Args:
          x: `[B, H, W, inputs]`, or, if `folded`, `[B, H, W / 2, 2 inputs]`.
          folded: pairs of columns lie in the channels, of `x` and of the result, as
            `column_folding.fold` puts them. Only a 3x3 window of stride 1, not dilated, can.

        Returns:
          `[B, ceil(H / stride), ceil(W / stride), outputs]`, or, if `folded`,
          `[B, H, W / 2, 2 outputs]`.

        Raises:
          ValueError: `folded`, and the window is another one.
        """
        x = x.astype(self.dtype)
        kernel = self.kernel.get_value()
        size = kernel.shape[0]
        if folded:
            if (size, self.stride, self.dilation) != (3, 1, 1):
                raise ValueError(
                    f"a {size}x{size} convolution of stride {self.stride} and dilation"
                    f" {self.dilation} is not for folded columns, only 3x3, 1 and 1"
                )
            kernel = fold_kernel(kernel)
        kernel = kernel.astype(self.dtype)
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
            bias = self.bias.get_value().astype(self.dtype)
            y = y + (fold_vector(bias) if folded else bias)
        return y


class ConvBN(nnx.Module):
    """Convolution, BatchNorm and, unless `relu=False`, ReLU. Other arguments as in `Conv`."""

    def __init__(
        self, inputs: int, outputs: int, *, relu: bool = True, dtype: jnp.dtype, **convolution
    ):
        self.conv = Conv(inputs, outputs, dtype=dtype, **convolution)
        self.bn = BatchNorm(outputs, dtype=dtype)
        self.relu = relu

    def __call__(self, x: jax.Array, *, train: bool, folded: bool = False) -> jax.Array:
        x = self.bn(self.conv(x, folded=folded), train=train, folded=folded)
        return jax.nn.relu(x) if self.relu else x


class Sequence(nnx.Module):
    """Layers with a `train` argument, one after the other."""

    def __init__(self, *layers: nnx.Module):
        self.layers = nnx.List(layers)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for layer in self.layers:
            x = layer(x, train=train)
        return x
