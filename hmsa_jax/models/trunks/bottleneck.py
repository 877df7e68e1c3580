"""The bottleneck block, of which ResNet and the first stage of HRNet are made."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hmsa_jax.models.layers.conv import ConvBN

EXPANSION = 4


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions with a residual connection; the last widens fourfold.

    Args:
      inputs: channels of the input.
      channels: channels of the first two convolutions; the block has `EXPANSION` times as many.
      stride: of the 3x3 convolution and of the shortcut.
      dilation: of the 3x3 convolution.
      dtype: dtype to compute in.
      rng: generator that the kernels are drawn from.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        dtype: jnp.dtype,
        rng: np.random.Generator,
    ):
        outputs = channels * EXPANSION
        layer = {"dtype": dtype, "rng": rng}
        self.conv1 = ConvBN(inputs, channels, **layer)
        self.conv2 = ConvBN(channels, channels, kernel=3, stride=stride, dilation=dilation, **layer)
        self.conv3 = ConvBN(channels, outputs, relu=False, **layer)
        self.shortcut = (
            ConvBN(inputs, outputs, stride=stride, relu=False, **layer)
            if inputs != outputs
            else None
        )

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = x
        for conv in (self.conv1, self.conv2, self.conv3):
            y = conv(y, train=train)
        if self.shortcut is not None:
            x = self.shortcut(x, train=train)
        return jax.nn.relu(x + y)
