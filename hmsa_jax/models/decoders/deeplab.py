"""DeepLabV3+: atrous spatial pyramid pooling and a decoder, between ResNet and the heads.

The paper's ablations (section 4.1) use it at output stride 8.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.models.heads import SEMANTIC_HEADS
from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import Conv, ConvBN
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.models.trunks.trunk import PublishedNames

_CHANNELS = 256  # of each branch of the pyramid, and of the pyramid in the decoder
_FINE_CHANNELS = 48  # of the trunk's features at stride 4 in the decoder
_RATES = (12, 24, 36)  # dilations at output stride 8

# Our layer -> the published convolution and BatchNorm, or the convolution alone.
PUBLISHED_NAMES: PublishedNames = {
    "decoder.pyramid.branches.{0}": ("aspp.features.{0}.0", "aspp.features.{0}.1"),
    "decoder.pyramid.image": ("aspp.img_conv.0", "aspp.img_conv.1"),
    "decoder.fine": "bot_fine",
    "decoder.coarse": "bot_aspp",
    "semantic_head.hidden.0": ("final.0", "final.1"),
    "semantic_head.hidden.1": ("final.3", "final.4"),
    "semantic_head.output": "final.6",
}


class SpatialPyramid(nnx.Module):
    """Atrous spatial pyramid pooling: the same features seen through windows of several sizes.

    Args:
      inputs: channels of the features.
      layer: dtype to compute in and generator that the kernels are drawn from.
    """

    def __init__(self, inputs: int, layer: Layer):
        self.image = ConvBN(inputs, _CHANNELS, layer)
        self.branches = nnx.List(
            [
                ConvBN(inputs, _CHANNELS, layer),
                *(ConvBN(inputs, _CHANNELS, layer, kernel=3, dilation=r) for r in _RATES),
            ]
        )
        self.channels = _CHANNELS * (1 + len(self.branches))

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        """Maps `[B, h, w, inputs]` to `[B, h, w, channels]`: whole image, 1x1, then the rates."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        whole = canvas.mean(x, wide).astype(x.dtype)
        whole = canvas.clear(resize_bilinear(self.image(whole, train=train), x.shape[1:3]))
        return jnp.concatenate(
            [whole, *(branch(x, train=train, canvas=canvas) for branch in self.branches)], axis=-1
        )


class DeepLab(nnx.Module):
    """The decoder: the pyramid of the coarse features beside the fine features.

    Args:
      fine_channels: channels of the features at stride 4.
      inputs: channels of the features at stride 8.
      layer: dtype to compute in and generator that the kernels are drawn from.

    Attributes:
      channels: channels of the result.
      whole_rows: whether no devices share out the rows of an image, see `resize_bilinear`.
    """

    def __init__(self, fine_channels: int, inputs: int, layer: Layer):
        self.pyramid = SpatialPyramid(inputs, layer)
        self.fine = Conv(fine_channels, _FINE_CHANNELS, layer)
        self.coarse = Conv(self.pyramid.channels, _CHANNELS, layer)
        self.channels = _FINE_CHANNELS + _CHANNELS
        self.whole_rows = False

    def __call__(
        self,
        features: tuple[jax.Array, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None,
        canvas: Canvas = FILLED,
    ) -> tuple[jax.Array, None]:
        """Maps the trunk's features to what the heads read.

        Args:
          features: `[B, h, w, fine_channels]` and `[B, h / 2, w / 2, inputs]`.
          train: batch statistics, or running statistics.
          dropout_key: not read: there is no dropout.
          canvas: of the images, in evaluation.

        Returns:
          `[B, h, w, channels]`, and None: there is no auxiliary head.
        """
        del dropout_key
        fine, coarse = features
        with jax.named_scope("pyramid"):
            coarse = self.pyramid(coarse, train=train, canvas=canvas)
        with jax.named_scope("output"):
            coarse = self.coarse(coarse)
            coarse = canvas.resize(coarse, fine.shape[1:3], whole_rows=self.whole_rows)
            return jnp.concatenate([self.fine(fine), coarse], axis=-1), None


def _build(trunk, architecture, layer):
    del architecture
    return DeepLab(trunk.fine_channels, trunk.channels, layer)


DECODER = Decoder(
    build=_build,
    has_auxiliary_head=False,
    normalises_image_mean=True,
    widths={},
    weights=lambda widths: 0,
    published_names=dict.fromkeys(SEMANTIC_HEADS, PUBLISHED_NAMES),  # both are one head here
    renamed={},
    head_has_bias=False,
    published_head_is_linear=False,
)
