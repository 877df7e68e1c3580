"""What training minimises: the fused prediction, the auxiliary head and each scale by itself."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from hmsa_jax.losses.cross_entropy import (
    binary_cross_entropy,
    cross_entropy,
    image_weighted_cross_entropy,
)
from hmsa_jax.losses.rmi import check_window, region_mutual_information
from hmsa_jax.models import fusion
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.models.multiscale import ScaleOutput
from hmsa_jax.runtime.registry import Registry

MEANS = ("images", "pixels")
LossFunction = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class RMI:
    """The numbers of the RMI loss; the defaults are the published ones.

    Attributes:
      weight: share of region mutual information in the loss; the rest is binary cross-entropy.
      radius: rows and columns of a region.
      pool: factor by which probabilities and labels are reduced first.
      pooling: one of `rmi.POOLINGS`.
    """

    weight: float = 0.5
    radius: int = 3
    pool: int = 4
    pooling: str = "average"


@dataclasses.dataclass(frozen=True)
class Objective:
    """main + aux_weight x aux + scale_weight x (sum of each scale's own loss).

    Main and auxiliary loss are those of the logits fused over the scales by the attention (paper
    section 3, equation 1; section 4 for the losses), or of the only scale's logits.

    Attributes:
      main_loss: name in `LOSSES` (paper: `rmi`).
      aux_loss: name of one that may be auxiliary (paper: `cross_entropy`; published code:
        `binary_cross_entropy`).
      aux_weight: weight of the auxiliary loss (paper: 0.4); 0 for a network without that head.
      scale_weight: weight of each scale's own loss (0.05 on Cityscapes, else 0), which is the main
        one's function: binary cross-entropy in the case of `rmi`.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      fuse: what the scales are fused with, as in `attentions.ATTENTIONS`.
      rmi: numbers of the main loss in the case of `rmi`.
      mean_over: one of `MEANS`. `images`: the losses of the images by themselves are averaged, as
        where each of many GPUs has one image, so that few labelled pixels weigh more. `pixels`: all
        labelled pixels of the (global) batch weigh the same. RMI is a mean over images either way.
      class_weights: how much a pixel of each class counts in those losses that take weights,
        `cross_entropy`; () for all the same.
    """

    main_loss: str = "rmi"
    aux_loss: str = "cross_entropy"
    aux_weight: float = 0.4
    scale_weight: float = 0.0
    fusion_resolution: str = "features"
    fuse: Callable[..., jax.Array] = fusion.hierarchical
    rmi: RMI = RMI()
    mean_over: str = "pixels"
    class_weights: tuple[float, ...] = ()

    def __call__(
        self, outputs: dict[float, ScaleOutput], labels: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch.

        Args:
          outputs: scale -> output, 1.0 among the scales.
          labels: `[B, H, W]` uint8 at scale 1; a label that is no class is ignored.

        Returns:
          The loss, a scalar, and its terms by name, before weighting. RMI may be negative.
        """
        logits = {scale: output.logits for scale, output in outputs.items()}
        with jax.named_scope("main"):
            loss, terms = self._main(self._fused(logits, outputs, labels.shape[1:3]), labels)
        if self.aux_weight:
            with jax.named_scope("aux"):
                aux_logits = {scale: output.aux_logits for scale, output in outputs.items()}
                fused = self._fused(aux_logits, outputs, labels.shape[1:3])
                terms["aux"] = self.mean_of(self._function(self.aux_loss), fused, labels)
            loss = loss + self.aux_weight * terms["aux"]
        if self.scale_weight:
            with jax.named_scope("scales"):
                terms["scales"] = self._scales(logits, labels)
            loss = loss + self.scale_weight * terms["scales"]
        return loss, terms

    def _fused(self, logits, outputs, size):
        """One prediction `[B, *size, C]` from all scales' logits."""
        attention = {scale: output.attention for scale, output in outputs.items()}
        grid = size if self.fusion_resolution == "image" else logits[1.0].shape[1:3]
        with jax.named_scope("fusion"):
            joint = self.fuse(logits, attention, grid, resolution=self.fusion_resolution)
            return resize_bilinear(joint, size)

    def _main(self, logits, labels):
        loss = LOSSES.get(self.main_loss)
        if loss.with_terms is not None:
            return loss.with_terms(self, logits, labels)
        main = self.mean_of(self._function(self.main_loss), logits, labels)
        return main, {"main": main}

    def _scales(self, logits, labels):
        """The sum of all scales' own losses."""
        function = self._function(self.main_loss)
        each = fusion.each_resized(logits, labels.shape[1:3], resolution=self.fusion_resolution)
        return sum(self.mean_of(function, own, labels) for own in each)

    def _function(self, name: str) -> LossFunction:
        loss = LOSSES.get(name)
        if self.class_weights and loss.takes_class_weights:
            return functools.partial(loss.function, class_weights=self.class_weights)
        return loss.function

    def mean_of(self, function: LossFunction, logits: jax.Array, labels: jax.Array) -> jax.Array:
        """A loss of the batch, or the mean of the images' own: `mean_over` says which."""
        if self.mean_over == "pixels":
            return function(logits, labels)
        images = (logits[:, None], labels[:, None])  # batches of one
        return jax.vmap(function)(*images).mean()


@dataclasses.dataclass(frozen=True)
class Loss:
    """An entry of `LOSSES`.

    Attributes:
      function: `(logits [B, H, W, C], labels [B, H, W]) -> scalar`, for auxiliary logits and for
        each scale by itself.
      with_terms: `(objective, logits, labels) -> (loss, terms)`, the main loss where that is more
        than `function`.
      is_auxiliary: whether it may be the auxiliary loss.
      takes_class_weights: whether `function` takes `class_weights`, a number for each class.
      check_crop: `(size, config group objective)`; raises ValueError, naming fields, if crops of
        that size are too small for it.
    """

    function: Callable[..., jax.Array]
    with_terms: Callable | None = None
    is_auxiliary: bool = True
    takes_class_weights: bool = False
    check_crop: Callable | None = None


def _rmi_with_terms(
    objective: Objective, logits: jax.Array, labels: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Region mutual information beside binary cross-entropy (Tao et al. 2020, section 4)."""
    rmi = objective.rmi
    bce = objective.mean_of(binary_cross_entropy, logits, labels)
    mutual = region_mutual_information(
        logits, labels, radius=rmi.radius, pool=rmi.pool, pooling=rmi.pooling
    )
    main = (1 - rmi.weight) * bce + rmi.weight * mutual
    return main, {"main": main, "bce": bce, "rmi": mutual}


def _check_window(size: tuple[int, int], objective: Objective) -> None:
    window = objective.rmi
    try:
        check_window(size, window.radius, window.pool, window.pooling)
    except ValueError as error:
        raise ValueError(f"objective.rmi: {error}") from error


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        # Each scale by itself goes without its regions: they are heavy.
        "rmi": Loss(binary_cross_entropy, _rmi_with_terms, False, check_crop=_check_window),
        "cross_entropy": Loss(cross_entropy, takes_class_weights=True),
        "image_weighted_cross_entropy": Loss(image_weighted_cross_entropy),
        "binary_cross_entropy": Loss(binary_cross_entropy),
    },
)


def auxiliary_losses() -> tuple[str, ...]:
    """The names of the losses that may be auxiliary."""
    return tuple(name for name in LOSSES.names() if LOSSES.get(name).is_auxiliary)
