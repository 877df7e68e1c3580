"""The paper's network: a shared trunk, run at several scales, with semantic and attention heads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from hmsa_jax.models import heads, hrnet
from hmsa_jax.models.fusion import scaled_size
from hmsa_jax.models.ocr import OCR
from hmsa_jax.models.resize import resize_bilinear


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleOutput:
    """What the network says of one scale, at the resolution of its heads.

    Attributes:
      logits: `[B, h, w, classes]` float32.
      aux_logits: `[B, h, w, classes]` float32, of the auxiliary head.
      attention: `[B, h, w, 1]` float32 in (0, 1), or None for a network without attention.
    """

    logits: jax.Array
    aux_logits: jax.Array
    attention: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All that defines the network's function and the shapes of its parameters.

    Attributes:
      trunk: a name in `hrnet.SIZES`.
      classes: number of classes.
      attention: whether there is an attention head.
      semantic_head: one of `heads.SEMANTIC_HEADS`.
      ocr_channels: channels of the object-contextual features (paper: 512).
      ocr_key_channels: channels in which pixels and regions are compared (256).
      head_channels: hidden channels of the semantic and attention heads (256).
      dropout: probability of dropping a channel after the object-contextual block (0.05).
    """

    trunk: str
    classes: int
    attention: bool = True
    semantic_head: str = "paper"
    ocr_channels: int = 512
    ocr_key_channels: int = 256
    head_channels: int = 256
    dropout: float = 0.05


class MultiscaleNetwork(nnx.Module):
    """HRNet-OCR with a dual head, which a scale of the image goes through by itself.

    Args:
      architecture: see `Architecture`.
      dtype: dtype to compute in; parameters, statistics, softmax and outputs are float32.
      remat: recompute activations in the backward pass instead of keeping them.
      rng: generator that the kernels are drawn from.
    """

    def __init__(
        self, architecture: Architecture, *, dtype: jnp.dtype, remat: bool, rng: np.random.Generator
    ):
        a = architecture
        layer = {"dtype": dtype, "rng": rng}
        self.remat = remat
        self.trunk = hrnet.HRNet(hrnet.SIZES[a.trunk], remat=remat, **layer)
        self.aux_head = heads.auxiliary_head(self.trunk.channels, a.classes, **layer)
        self.ocr = OCR(
            self.trunk.channels,
            channels=a.ocr_channels,
            key_channels=a.ocr_key_channels,
            dropout=a.dropout,
            **layer,
        )
        self.semantic_head = heads.semantic_head(
            a.semantic_head, a.ocr_channels, a.head_channels, a.classes, **layer
        )
        self.attention_head = (
            heads.attention_head(a.ocr_channels, a.head_channels, **layer) if a.attention else None
        )

    def __call__(
        self, images: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> ScaleOutput:
        """One scale.

        Args:
          images: `[B, H, W, 3]`, normalised.
          train: batch statistics (which move the running ones) and dropout, or neither.
          dropout_key: random key, needed in training.

        Returns:
          The heads' outputs at a quarter of the size of `images`.
        """
        features = self.trunk(images, train=train)

        def heads_of(network, features):
            return network.run_heads(features, train=train, dropout_key=dropout_key)

        return (nnx.remat(heads_of) if self.remat and train else heads_of)(self, features)

    def run_heads(
        self, features: jax.Array, *, train: bool, dropout_key: jax.Array | None
    ) -> ScaleOutput:
        """The object-contextual block and the heads, from the trunk's features."""
        aux_logits = self.aux_head(features, train=train)
        pixels = self.ocr(features, aux_logits, train=train, dropout_key=dropout_key)
        logits = self.semantic_head(pixels, train=train)
        attention = None
        if self.attention_head is not None:
            attention = jax.nn.sigmoid(self.attention_head(pixels, train=train))
        return ScaleOutput(logits, aux_logits, attention)


def run_scales(
    network: MultiscaleNetwork,
    images: jax.Array,
    scales: tuple[float, ...],
    *,
    train: bool,
    dropout_key: jax.Array | None = None,
) -> dict[float, ScaleOutput]:
    """The network at each scale of the images, the lowest first.

    In training the running statistics so move once for every scale, in that order.

    Args:
      network: the network.
      images: `[B, H, W, 3]`, normalised, at scale 1.
      scales: the scales, any number in any order.
      train: as for the network.
      dropout_key: as for the network; every scale gets its own.

    Returns:
      scale -> output at a quarter of floor(H x scale), floor(W x scale).
    """
    outputs = {}
    for i, scale in enumerate(sorted(scales)):
        scaled = resize_bilinear(images, scaled_size(images.shape[1:3], scale))
        key = None if dropout_key is None else jax.random.fold_in(dropout_key, i)
        outputs[scale] = network(scaled, train=train, dropout_key=key)
    return outputs


def initialize(architecture: Architecture, *, dtype: str, remat: bool, seed: int):
    """Builds the network and takes it apart: modules describe, pure functions run.

    Args:
      architecture: see `Architecture`.
      dtype: name of the dtype to compute in, `bfloat16` or `float32`.
      remat: as for `MultiscaleNetwork`.
      seed: of the kernels.

    Returns:
      `(graphdef, params, batch_stats)`: a static description and two nested dicts of float32 host
      arrays, as `apply` takes them.
    """
    network = MultiscaleNetwork(
        architecture, dtype=jnp.dtype(dtype), remat=remat, rng=np.random.default_rng(seed)
    )
    graphdef, params, batch_stats = nnx.split(network, nnx.Param, nnx.BatchStat)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)


def apply(
    graphdef: nnx.GraphDef,
    params: dict,
    batch_stats: dict,
    images: jax.Array,
    scales: tuple[float, ...],
    *,
    train: bool,
    dropout_key: jax.Array | None = None,
) -> tuple[dict[float, ScaleOutput], dict]:
    """`run_scales` as a pure function.

    Returns:
      The outputs by scale, and the running statistics afterwards (in training they have moved).
    """
    network = nnx.merge(graphdef, params, batch_stats, copy=True)
    outputs = run_scales(network, images, scales, train=train, dropout_key=dropout_key)
    _, _, batch_stats = nnx.split(network, nnx.Param, nnx.BatchStat)
    return outputs, nnx.to_pure_dict(batch_stats)
