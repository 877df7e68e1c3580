"""The dense heads: semantic and attention (paper section 3.1), and what OCR needs of them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import Conv, ConvBN
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.trunks.trunk import PublishedNames

PUBLISHED = "published"
SEMANTIC_HEADS = ("paper", PUBLISHED)


class DenseHead(nnx.Module):
    """Convolutions with BatchNorm and ReLU, then a 1x1 convolution, whose result is float32.

    Args:
      inputs: channels of the features.
      hidden: channels of each convolution before the last; empty for a linear head.
      outputs: channels of the result: one a class, or one for attention.
      layer: dtype to compute in and generator that the kernels are drawn from.
      kernel: size of the hidden convolutions.
      hidden_bias: bias on the hidden convolutions.
      bias: bias on the last convolution.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        outputs: int,
        layer: Layer,
        *,
        kernel: int = 3,
        hidden_bias: bool = False,
        bias: bool,
    ):
        channels = (inputs, *hidden)
        self.hidden = nnx.List(
            ConvBN(i, o, layer, kernel=kernel, bias=hidden_bias)
            for i, o in zip(channels, hidden, strict=False)
        )
        self.output = Conv(channels[-1], outputs, layer, bias=bias)

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        """Maps `[B, h, w, inputs]` to `[B, h, w, outputs]`."""
        for layer in self.hidden:
            x = layer(x, train=train, canvas=canvas)
        y = self.output(x)
        return y.astype(jnp.promote_types(y.dtype, jnp.float32))


def semantic_head(
    inputs: int, hidden: int, classes: int, layer: Layer, *, linear: bool, bias: bool
) -> DenseHead:
    """Logits for every class.

    Of `SEMANTIC_HEADS` `paper` is (3x3, BN, ReLU) twice and a 1x1 convolution, as the paper
    describes it; `published` is what the published code has in its place. After OCR that is a
    single 1x1 convolution, the linear head; after DeepLabV3+ it is the paper's head without a
    bias, and `paper` the same.
    """
    widths = () if linear else (hidden, hidden)
    return DenseHead(inputs, widths, classes, layer, bias=bias)


def attention_head(inputs: int, hidden: int, outputs: int, layer: Layer) -> DenseHead:
    """One channel, of which the sigmoid is the attention, or one for each scale; without bias."""
    return DenseHead(inputs, (hidden, hidden), outputs, layer, bias=False)


# Our layer -> the published convolution and BatchNorm, or the convolution alone.
PUBLISHED_ATTENTION_NAMES: PublishedNames = {
    "attention_head.hidden.{0}": ("scale_attn.conv{0}", "scale_attn.bn{0}"),
    "attention_head.output": "scale_attn.conv2",
}
# Name in `published_names.ORIGINS` -> what that one calls these layers.
OTHER_ATTENTION_NAMES: Mapping[str, PublishedNames] = {
    "paddleseg": {
        "attention_head.hidden.{0}": (
            "scale_attn.atten_head.{0}._conv",
            "scale_attn.atten_head.{0}._batch_norm",
        ),
        "attention_head.output": "scale_attn.atten_head.2",
    }
}
