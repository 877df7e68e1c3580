"""What training minimises: the fused prediction, the auxiliary head and each scale by itself."""

import dataclasses

import jax

from hmsa_jax.losses.binary_cross_entropy import binary_cross_entropy
from hmsa_jax.losses.cross_entropy import cross_entropy, image_weighted_cross_entropy
from hmsa_jax.losses.rmi import region_mutual_information
from hmsa_jax.models import fusion
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.models.multiscale import ScaleOutput

_LIGHT = {
    "cross_entropy": cross_entropy,
    "image_weighted_cross_entropy": image_weighted_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
}
LOSSES = ("rmi", *_LIGHT)
AUXILIARY_LOSSES = tuple(_LIGHT)
MEANS = ("images", "pixels")


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
      main_loss: one of `LOSSES` (paper: `rmi`).
      aux_loss: one of `AUXILIARY_LOSSES` (paper: `cross_entropy`; published code:
        `binary_cross_entropy`).
      aux_weight: weight of the auxiliary loss (paper: 0.4); 0 for a network without that head.
      scale_weight: weight of each scale's own loss (0.05 on Cityscapes, else 0), which is the main
        one, but binary cross-entropy alone in the case of `rmi`.
      fusion_resolution: one of `fusion.RESOLUTIONS`.
      explicit: whether the outputs hold shares of the scales rather than attention.
      rmi: numbers of the main loss in the case of `rmi`.
      mean_over: one of `MEANS`. `images`: the losses of the images by themselves are averaged, as
        where each of many GPUs has one image, so that few labelled pixels weigh more. `pixels`: all
        labelled pixels of the (global) batch weigh the same. RMI is a mean over images either way.
    """

    main_loss: str = "rmi"
    aux_loss: str = "cross_entropy"
    aux_weight: float = 0.4
    scale_weight: float = 0.0
    fusion_resolution: str = "features"
    explicit: bool = False
    rmi: RMI = RMI()
    mean_over: str = "pixels"

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
        loss, terms = self._main(self._fused(logits, outputs, labels.shape[1:3]), labels)
        if self.aux_weight:
            aux_logits = {scale: output.aux_logits for scale, output in outputs.items()}
            fused = self._fused(aux_logits, outputs, labels.shape[1:3])
            terms["aux"] = self._light(self.aux_loss, fused, labels)
            loss = loss + self.aux_weight * terms["aux"]
        if self.scale_weight:
            terms["scales"] = self._scales(logits, labels)
            loss = loss + self.scale_weight * terms["scales"]
        return loss, terms

    def _fused(self, logits, outputs, size):
        """One prediction `[B, *size, C]` from all scales' logits."""
        attention = {scale: output.attention for scale, output in outputs.items()}
        grid = size if self.fusion_resolution == "image" else logits[1.0].shape[1:3]
        fuse = fusion.explicit if self.explicit else fusion.hierarchical
        joint = fuse(logits, attention, grid, resolution=self.fusion_resolution)
        return resize_bilinear(joint, size)

    def _main(self, logits, labels):
        if self.main_loss != "rmi":
            main = self._light(self.main_loss, logits, labels)
            return main, {"main": main}
        bce = self._light("binary_cross_entropy", logits, labels)
        rmi = region_mutual_information(
            logits, labels, radius=self.rmi.radius, pool=self.rmi.pool, pooling=self.rmi.pooling
        )
        main = (1 - self.rmi.weight) * bce + self.rmi.weight * rmi
        return main, {"main": main, "bce": bce, "rmi": rmi}

    def _scales(self, logits, labels):
        """The sum of all scales' own losses, without their regions: RMI is heavy."""
        loss = "binary_cross_entropy" if self.main_loss == "rmi" else self.main_loss
        each = fusion.each_resized(logits, labels.shape[1:3], resolution=self.fusion_resolution)
        return sum(self._light(loss, own, labels) for own in each)

    def _light(self, loss, logits, labels):
        """A loss of `_LIGHT`, of the batch or as the mean over images."""
        if self.mean_over == "pixels":
            return _LIGHT[loss](logits, labels)
        images = (logits[:, None], labels[:, None])  # batches of one
        return jax.vmap(_LIGHT[loss])(*images).mean()
