"""The bottleneck block, of which ResNet and the first stage of HRNet are made."""

import jax
from flax import nnx

from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import ConvBN
from hmsa_jax.models.layers.layer import Layer

EXPANSION = 4


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions with a residual connection; the last widens fourfold.

    Args:
      inputs: channels of the input.
      channels: channels of the first two convolutions; the block has `EXPANSION` times as many.
      layer: dtype to compute in and generator that the kernels are drawn from.
      stride: of the 3x3 convolution and of the shortcut.
      dilation: of the 3x3 convolution.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        layer: Layer,
        *,
        stride: int = 1,
        dilation: int = 1,
    ):
        outputs = channels * EXPANSION
        self.conv1 = ConvBN(inputs, channels, layer)
        self.conv2 = ConvBN(channels, channels, layer, kernel=3, stride=stride, dilation=dilation)
        self.conv3 = ConvBN(channels, outputs, layer, relu=False)
        self.shortcut = (
            ConvBN(inputs, outputs, layer, stride=stride, relu=False) if inputs != outputs else None
        )

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        y = x
        for conv in (self.conv1, self.conv2, self.conv3):
            y = conv(y, train=train, canvas=canvas)
        if self.shortcut is not None:
            x = self.shortcut(x, train=train, canvas=canvas)
        return jax.nn.relu(x + y)
