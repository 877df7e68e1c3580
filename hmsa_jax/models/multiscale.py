"""The paper's networks: a shared trunk, run at several scales, and the heads."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hmsa_jax.models import heads
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.models.fusion import scaled_size
from hmsa_jax.models.initialization import draw_as_published
from hmsa_jax.models.layers.batch_norm import MOMENTUM, BatchNorm
from hmsa_jax.models.layers.canvas import FILLED, Canvas, ScaledSize, resize
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.merging import merged
from hmsa_jax.models.remat import with_policy
from hmsa_jax.models.trunks import TRUNKS

COMPONENTS = ("trunk", "decoder", "semantic_head", "attention_head")  # of params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleOutput:
    """What the network says of one scale, at the resolution of its heads.

    Attributes:
      logits: `[B, h, w, classes]` float32.
      aux_logits: `[B, h, w, classes]` float32, of the auxiliary head, or None where there is none.
      attention: `[B, h, w, 1]` float32 in (0, 1), or None for a network without attention. Of an
        explicit network it is the share of this scale, at the resolution of scale 1, and None
        unless all scales that it weighs are there.
      coverage: `[B, h, w, 1]` float32 in [0, 1], the share of each place that was looked at, where
        not all of them were; logits are multiplied by it.
    """

    logits: jax.Array
    aux_logits: jax.Array | None
    attention: jax.Array | None
    coverage: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that defines the network's function and the shapes of its parameters.

    Attributes:
      trunk: name in `trunks.TRUNKS`: an HRNet, which OCR follows, or a ResNet, which DeepLabV3+
        follows.
      classes: number of classes.
      attention: name in `attentions.ATTENTIONS`.
      scales: the scales that explicit attention weighs, which are brought into ascending order;
        else not read.
      semantic_head: one of `heads.SEMANTIC_HEADS`.
      ocr_channels: channels of the object-contextual features (paper: 512).
      ocr_key_channels: channels in which pixels and regions are compared (256).
      head_channels: hidden channels of the semantic and attention heads (256).
      dropout: probability of dropping a channel after the object-contextual block (0.05).
    """

    trunk: str
    classes: int
    attention: str = "hierarchical"
    scales: tuple[float, ...] = ()
    semantic_head: str = "paper"
    ocr_channels: int = 512
    ocr_key_channels: int = 256
    head_channels: int = 256
    dropout: float = 0.05

    def __post_init__(self):
        object.__setattr__(self, "scales", tuple(sorted(self.scales)))

    @property
    def decoder(self) -> Decoder:
        """What follows the trunk."""
        return DECODERS.get(TRUNKS.get(self.trunk).decoder)

    @property
    def coarsest_stride(self) -> int:
        """Of the trunk's coarsest features."""
        return TRUNKS.get(self.trunk).coarsest_stride


class MultiscaleNetwork(nnx.Module):
    """A trunk and its heads, which every scale of an image goes through by itself."""

    def __init__(
        self,
        architecture: Architecture,
        layer: Layer,
        *,
        remat: str,
    ):
        a = architecture
        self.remat = remat
        attention = ATTENTIONS.get(a.attention)
        self.weighed_scales = a.scales if attention.weighs_together else ()
        self.trunk = TRUNKS.get(a.trunk).build(layer, remat=remat)
        self.decoder = a.decoder.build(self.trunk, a, layer)
        pixels: int = self.decoder.channels  # type: ignore[attr-defined]
        self.semantic_head = heads.semantic_head(
            pixels,
            a.head_channels,
            a.classes,
            layer,
            linear=a.decoder.head_is_linear(a.semantic_head),
            bias=a.decoder.head_has_bias,
        )
        maps = attention.maps(a.scales)
        self.attention_head = (
            heads.attention_head(maps * pixels, a.head_channels, maps, layer) if maps else None
        )

    def __call__(
        self,
        images: jax.Array,
        scales: tuple[float, ...],
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
        scaled_size: ScaledSize = scaled_size,
        sizes: jax.Array | None = None,
    ) -> dict[float, ScaleOutput]:
        """Runs the scales one after the other, the lowest first.

        In training the running statistics move once for every scale, in that order. The highest
        scale's attention, which nothing reads (equation 1), has no gradient.

        Args:
          images: `[B, H, W, 3]`, normalised, at scale 1.
          scales: any number in any order.
          train: batch statistics (which move the running ones) and dropout, or neither.
          dropout_key: random key, needed in training; every scale gets its own.
          scaled_size: says how large the image is at each scale.
          sizes: int32 `[B, 2]`, rows and columns of each image at the top left of its array, in
            evaluation; None where the images fill it.

        Returns:
          scale -> output at a quarter of that size.
        """
        outputs: dict[float, ScaleOutput] = {}
        pixels: dict[float, jax.Array] = {}
        canvas = Canvas(images.shape[1:3], sizes)
        canvases = {scale: canvas.scaled(scale, scaled_size) for scale in scales}
        statistics = _RunningStatistics(self) if train else None
        for i, scale in enumerate(sorted(scales)):
            key = None if dropout_key is None else jax.random.fold_in(dropout_key, i)
            with jax.named_scope(f"scale_{scale:g}"):
                scaled = resize(images, canvas, canvases[scale])
                outputs[scale], pixels[scale] = self.run_scale(
                    scaled, train=train, dropout_key=key, canvas=canvases[scale]
                )
            if statistics is not None:
                statistics.take()
        if statistics is not None:
            statistics.give()
        if train:
            outputs[max(scales)] = _without_gradient_of_attention(outputs[max(scales)])
        if self.weighed_scales and set(self.weighed_scales) <= set(outputs):
            for scale, share in self.weigh_scales(pixels, canvases, train=train).items():
                outputs[scale] = dataclasses.replace(outputs[scale], attention=share)
        return outputs

    def run_scale(
        self,
        images: jax.Array,
        *,
        train: bool,
        dropout_key: jax.Array | None,
        canvas: Canvas = FILLED,
    ) -> tuple[ScaleOutput, jax.Array]:
        """One scale: what the heads say of it, and the features `[B, h, w, C]` that they read."""
        with jax.named_scope("trunk"):
            features = self.trunk(images, train=train, canvas=canvas)

        def heads_of(network, features):
            return network.run_heads(features, train=train, dropout_key=dropout_key, canvas=canvas)

        if train:
            heads_of = with_policy(heads_of, self.remat)
        return heads_of(self, features)

    def run_heads(
        self,
        features: Any,
        *,
        train: bool,
        dropout_key: jax.Array | None,
        canvas: Canvas = FILLED,
    ) -> tuple[ScaleOutput, jax.Array]:
        """Decoder and heads, from the trunk's features."""
        with jax.named_scope("decoder"):
            pixels, aux_logits = self.decoder(
                features, train=train, dropout_key=dropout_key, canvas=canvas
            )
        with jax.named_scope("semantic_head"):
            logits = self.semantic_head(pixels, train=train, canvas=canvas)
        attention = None
        if self.attention_head is not None and not self.weighed_scales:
            with jax.named_scope("attention_head"):
                attention = jax.nn.sigmoid(self.attention_head(pixels, train=train, canvas=canvas))
        return ScaleOutput(logits, aux_logits, attention), pixels

    @jax.named_scope("attention_head")
    def weigh_scales(
        self, pixels: dict[float, jax.Array], canvases: dict[float, Canvas], *, train: bool
    ) -> dict[float, jax.Array]:
        """The explicit baseline: from the features of all scales the share of each, by softmax.

        Chen et al. 2016, "Attention to Scale"; "explicit" in section 3 of the paper.

        Args:
          pixels: scale -> features `[B, h_r, w_r, C]`.
          canvases: scale -> canvas of the images at that scale.
          train: as above.

        Returns:
          scale -> share `[B, h_1, w_1, 1]`, at the resolution of scale 1.
        """
        own = {scale: canvases[scale].of_features(pixels[scale]) for scale in self.weighed_scales}
        together = jnp.concatenate(
            [resize(pixels[scale], own[scale], own[1.0]) for scale in self.weighed_scales], axis=-1
        )
        assert self.attention_head is not None  # some attention weighs these scales
        logits = self.attention_head(together, train=train, canvas=canvases[1.0])
        shares = jax.nn.softmax(logits, axis=-1)
        return {scale: shares[..., i : i + 1] for i, scale in enumerate(self.weighed_scales)}


def _without_gradient_of_attention(output: ScaleOutput) -> ScaleOutput:
    if output.attention is None:
        return output
    return dataclasses.replace(output, attention=jax.lax.stop_gradient(output.attention))


class _RunningStatistics:
    """Those of a network, moved by one scale after the other.

    Every scale is given what the network had at first, so that none waits for another, and what it
    has moved is added up: old' = (1 - m) old + m new for the first scale, and so on.

    Args:
      network: before the first scale.
    """

    def __init__(self, network: nnx.Module):
        layers = [each for _, each in nnx.iter_modules(network) if isinstance(each, BatchNorm)]
        self._variables = [each for layer in layers for each in (layer.mean, layer.var)]
        self._first = [each.get_value() for each in self._variables]
        self._moved: list[Any] = []

    def take(self) -> None:
        """Takes those that a scale has moved, and gives the network the first ones again."""
        own, rest = [each.get_value() for each in self._variables], 1 - MOMENTUM
        if self._moved:
            three = zip(self._moved, own, self._first, strict=True)
            own = [rest * moved + (x - rest * first) for moved, x, first in three]
        self._moved = own
        self._set(self._first)

    def give(self) -> None:
        """Gives the network those that all scales have moved."""
        self._set(self._moved)

    def _set(self, values: list[Any]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.set_value(value)


def initialize(
    architecture: Architecture,
    *,
    dtype: str,
    remat: str,
    batch_norm_group: int = 0,
    initialization: str = "he",
    seed: int,
) -> tuple[nnx.GraphDef, dict, dict]:
    """Builds the network and takes it apart: modules describe, pure functions run.

    Args:
      architecture: see `Architecture`.
      dtype: name of the dtype to compute in, `bfloat16` or `float32`.
      remat: one of `remat.POLICIES`, for the pieces of the trunk and for decoder and heads.
      batch_norm_group: of all BatchNorms, see there; a divisor of the images of a batch.
      initialization: one of `initialization.INITIALIZATIONS`, of decoder and heads. Trunks are
        drawn as `layers.Conv` has it, "he".
      seed: of kernels and biases.

    Returns:
      `(graphdef, params, batch_stats)`: a static description and two nested dicts of float32 host
      arrays, as `apply` takes them.
    """
    rng = np.random.default_rng(seed)
    network = MultiscaleNetwork(architecture, Layer(jnp.dtype(dtype), rng), remat=remat)
    if initialization == "published":
        draw_as_published(network, rng)
    network.set_attributes(BatchNorm, group=batch_norm_group)
    return _split(network)


def apply(
    graphdef: nnx.GraphDef,
    params: dict,
    batch_stats: dict,
    images: jax.Array,
    scales: tuple[float, ...],
    *,
    train: bool,
    dropout_key: jax.Array | None = None,
    shares: tuple[int, int] = (1, 1),
    scaled_size: ScaledSize = scaled_size,
    sizes: jax.Array | None = None,
) -> tuple[dict[float, ScaleOutput], dict]:
    """The network as a pure function; arguments as for `initialize` and `MultiscaleNetwork`.

    Args:
      shares: of all BatchNorms, see there.

    Returns:
      The outputs by scale, and the running statistics afterwards (in training they have moved).
    """

    def run(params, batch_stats, images, dropout_key, sizes):
        network = nnx.merge(graphdef, params, batch_stats, copy=True)
        network.set_attributes(BatchNorm, shares=shares)
        outputs = network(
            images,
            scales,
            train=train,
            dropout_key=dropout_key,
            scaled_size=scaled_size,
            sizes=sizes,
        )
        return outputs, _split(network)[2]

    if train and math.prod(shares) > 1:
        run = merged(run)
    return run(params, batch_stats, images, dropout_key, sizes)


def _split(network: MultiscaleNetwork) -> tuple[nnx.GraphDef, dict, dict]:
    """A static description of a network, its parameters and its running statistics."""
    graphdef, *states = nnx.split(network, nnx.Param, nnx.BatchStat)
    params, batch_stats = (nnx.to_pure_dict(state) for state in states)
    return graphdef, params, batch_stats
