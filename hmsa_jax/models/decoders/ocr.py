"""Object-contextual representations: every pixel is described by the classes it resembles.

Between trunk and heads of HRNet-OCR (paper section 3.1).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.models.heads import DenseHead
from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import ConvBN, Sequence
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.trunks.trunk import PublishedNames

_CONTEXT = "ocr.ocr_distri_head.object_context_block"
# Our layer -> the published convolution and BatchNorm, or the convolution alone.
PUBLISHED_NAMES: PublishedNames = {
    "decoder.features": ("ocr.conv3x3_ocr.0", "ocr.conv3x3_ocr.1.0"),
    "decoder.aux_head.hidden.0": ("ocr.aux_head.0", "ocr.aux_head.1.0"),
    "decoder.aux_head.output": "ocr.aux_head.2",
    "decoder.pixel.layers.0": (f"{_CONTEXT}.f_pixel.0", f"{_CONTEXT}.f_pixel.1.0"),
    "decoder.pixel.layers.1": (f"{_CONTEXT}.f_pixel.2", f"{_CONTEXT}.f_pixel.3.0"),
    "decoder.object.layers.0": (f"{_CONTEXT}.f_object.0", f"{_CONTEXT}.f_object.1.0"),
    "decoder.object.layers.1": (f"{_CONTEXT}.f_object.2", f"{_CONTEXT}.f_object.3.0"),
    "decoder.value": (f"{_CONTEXT}.f_down.0", f"{_CONTEXT}.f_down.1.0"),
    "decoder.up": (f"{_CONTEXT}.f_up.0", f"{_CONTEXT}.f_up.1.0"),
    "decoder.output": (
        "ocr.ocr_distri_head.conv_bn_dropout.0",
        "ocr.ocr_distri_head.conv_bn_dropout.1.0",
    ),
}
# What PaddleSeg calls the same layers.
_PADDLE_CONTEXT = "head.spatial_ocr.attention_block"
PADDLE_NAMES: PublishedNames = {
    **{
        layer: (f"{module}._conv", f"{module}._batch_norm")
        for layer, module in {
            "decoder.features": "head.conv3x3_ocr",
            "decoder.aux_head.hidden.0": "head.aux_head.0",
            "decoder.pixel.layers.0": f"{_PADDLE_CONTEXT}.f_pixel.0",
            "decoder.pixel.layers.1": f"{_PADDLE_CONTEXT}.f_pixel.1",
            "decoder.object.layers.0": f"{_PADDLE_CONTEXT}.f_object.0",
            "decoder.object.layers.1": f"{_PADDLE_CONTEXT}.f_object.1",
            "decoder.value": f"{_PADDLE_CONTEXT}.f_down",
            "decoder.up": f"{_PADDLE_CONTEXT}.f_up",
            "decoder.output": "head.spatial_ocr.conv1x1.0",
        }.items()
    },
    "decoder.aux_head.output": "head.aux_head.1",
    "semantic_head.output": "head.cls_head",
}
# What mmsegmentation calls them. Its auxiliary head is a head before the head.
_MMSEG_CONTEXT = "decode_head.1.object_context_block"
MMSEG_NAMES: PublishedNames = {
    **{
        layer: (f"{module}.conv", f"{module}.bn")
        for layer, module in {
            "decoder.features": "decode_head.1.bottleneck",
            "decoder.aux_head.hidden.0": "decode_head.0.convs.0",
            "decoder.pixel.layers.0": f"{_MMSEG_CONTEXT}.query_project.0",
            "decoder.pixel.layers.1": f"{_MMSEG_CONTEXT}.query_project.1",
            "decoder.object.layers.0": f"{_MMSEG_CONTEXT}.key_project.0",
            "decoder.object.layers.1": f"{_MMSEG_CONTEXT}.key_project.1",
            "decoder.value": f"{_MMSEG_CONTEXT}.value_project",
            "decoder.up": f"{_MMSEG_CONTEXT}.out_project",
            "decoder.output": f"{_MMSEG_CONTEXT}.bottleneck",
        }.items()
    },
    "decoder.aux_head.output": "decode_head.0.conv_seg",
    "semantic_head.output": "decode_head.1.conv_seg",
}
_MMSEG_WITHOUT_BIAS = ("ocr.conv3x3_ocr.0", "ocr.aux_head.0")
# The head of the published code is linear. The paper's is not in it: it is numbered like DeepLab's.
PUBLISHED_HEAD_NAMES: Mapping[str, PublishedNames] = {
    "published": {"semantic_head.output": "ocr.cls_head"},
    "paper": {
        "semantic_head.hidden.0": ("ocr.cls_head.0", "ocr.cls_head.1"),
        "semantic_head.hidden.1": ("ocr.cls_head.3", "ocr.cls_head.4"),
        "semantic_head.output": "ocr.cls_head.6",
    },
}
# The names of the authors of OCR -> the published ones.
RENAMED = {
    r"^(?=(conv3x3_ocr|ocr_distri_head|aux_head|cls_head)\.)": "ocr.",
    r"^ocr\.(conv3x3_ocr|aux_head)\.1\.(?!0\.)": r"ocr.\1.1.0.",
    r"^ocr\.aux_head\.3\.": "ocr.aux_head.2.",
}


class OCR(nnx.Module):
    """The object-contextual block and the auxiliary head, whose classes are its object regions.

    Args:
      inputs: channels of the trunk's features.
      classes: number of classes.
      layer: dtype to compute in and generator that the kernels are drawn from.
      channels: channels of the result.
      key_channels: channels in which pixels and object regions are compared.
      dropout: probability that a channel of the result is dropped in training.

    Attributes:
      channels: channels of the result.
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        layer: Layer,
        *,
        channels: int,
        key_channels: int,
        dropout: float,
    ):
        def transform():
            return Sequence(
                ConvBN(channels, key_channels, layer),
                ConvBN(key_channels, key_channels, layer),
            )

        self.aux_head = DenseHead(
            inputs, (inputs,), classes, layer, kernel=1, hidden_bias=True, bias=True
        )
        self.features = ConvBN(inputs, channels, layer, kernel=3, bias=True)
        self.pixel = transform()
        self.object = transform()
        self.value = ConvBN(channels, key_channels, layer)
        self.up = ConvBN(key_channels, channels, layer)
        self.output = ConvBN(2 * channels, channels, layer)
        self.dropout = dropout
        self.channels = channels

    def __call__(
        self,
        features: jax.Array,
        *,
        train: bool,
        dropout_key: jax.Array | None,
        canvas: Canvas = FILLED,
    ) -> tuple[jax.Array, jax.Array]:
        """Adds to every pixel the context of the object regions.

        Args:
          features: `[B, h, w, inputs]` from the trunk.
          train: batch statistics and dropout, or running statistics and none.
          dropout_key: random key, read in training only.
          canvas: of the images, in evaluation.

        Returns:
          `[B, h, w, channels]`, and the auxiliary logits `[B, h, w, classes]` float32, whose
          softmax over space makes the regions.
        """
        with jax.named_scope("aux_head"):
            aux_logits = self.aux_head(features, train=train, canvas=canvas)
        with jax.named_scope("features"):
            pixels = self.features(features, train=train, canvas=canvas)
        with jax.named_scope("regions"):
            regions = gather_regions(pixels, aux_logits, canvas)
        with jax.named_scope("context"):
            context = self._attend(pixels, regions, train=train, canvas=canvas)
            context = self.up(context, train=train, canvas=canvas)
        with jax.named_scope("output"):
            both = jnp.concatenate([context, pixels], axis=-1)
            result = self.output(both, train=train, canvas=canvas)
        if train and self.dropout:
            assert dropout_key is not None  # as its type says, for whoever trains
            result = drop_channels(result, self.dropout, dropout_key)
        return result, aux_logits

    def _attend(
        self, pixels: jax.Array, regions: jax.Array, *, train: bool, canvas: Canvas
    ) -> jax.Array:
        """Each pixel's mixture of region values, by softmax over classes."""
        query = self.pixel(pixels, train=train, canvas=canvas)
        key = self.object(regions, train=train)[:, :, 0]
        value = self.value(regions, train=train)[:, :, 0]
        wide = jnp.promote_types(query.dtype, jnp.float32)
        similarity = jnp.einsum("bhwk,bck->bhwc", query, key, preferred_element_type=wide)
        weights = jax.nn.softmax(similarity * query.shape[-1] ** -0.5, axis=-1)
        return jnp.einsum("bhwc,bck->bhwk", weights.astype(value.dtype), value)


def gather_regions(pixels: jax.Array, aux_logits: jax.Array, canvas: Canvas = FILLED) -> jax.Array:
    """The mean feature of each class, weighted by a softmax of its logits over space.

    Args:
      pixels: `[B, h, w, channels]`.
      aux_logits: `[B, h, w, classes]`.
      canvas: of the images.

    Returns:
      `[B, classes, 1, channels]` in the dtype of `pixels`: an image of one column.
    """
    weights = canvas.softmax(aux_logits).astype(pixels.dtype)
    regions = jnp.einsum("bhwc,bhwk->bck", weights, pixels, preferred_element_type=aux_logits.dtype)
    return regions[:, :, None].astype(pixels.dtype)


def drop_channels(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
    """Drops whole channels of `[B, h, w, C]` with probability `rate`, scaling up the others."""
    keep = jax.random.bernoulli(key, 1 - rate, (x.shape[0], 1, 1, x.shape[-1]))
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)


def _build(trunk, architecture, layer):
    return OCR(
        trunk.channels,
        architecture.classes,
        layer,
        channels=architecture.ocr_channels,
        key_channels=architecture.ocr_key_channels,
        dropout=architecture.dropout,
    )


def _weights(widths: Mapping[str, int]) -> int:
    channels, key = widths["ocr_channels"], widths["ocr_key_channels"]
    return 2 * channels**2 + 2 * channels * key + 2 * key**2


DECODER = Decoder(
    build=_build,
    has_auxiliary_head=True,
    normalises_image_mean=False,
    widths={"ocr_channels": "decoder.features", "ocr_key_channels": "decoder.value"},
    weights=_weights,
    published_names={
        kind: {**PUBLISHED_NAMES, **of_head} for kind, of_head in PUBLISHED_HEAD_NAMES.items()
    },
    renamed=RENAMED,
    head_has_bias=True,
    published_head_is_linear=True,
    other_names={"paddleseg": PADDLE_NAMES, "mmsegmentation": MMSEG_NAMES},
    without_bias={"mmsegmentation": _MMSEG_WITHOUT_BIAS},
)
