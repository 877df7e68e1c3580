"""What training minimises: the fused prediction, the auxiliary head and each scale by itself."""

import jax

from hmsa_jax.losses.cross_entropy import cross_entropy
from hmsa_jax.models import fusion
from hmsa_jax.models.multiscale import ScaleOutput
from hmsa_jax.models.resize import resize_bilinear


def objective(
    outputs: dict[float, ScaleOutput],
    labels: jax.Array,
    *,
    aux_weight: float,
    scale_weight: float,
    fusion_resolution: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """main + aux_weight x aux + scale_weight x (sum of each scale's own loss).

    `main` and `aux` are the cross-entropies of semantic and auxiliary logits fused over the scales
    by the attention (paper section 3, equation 1), or of the only scale's logits.

    Args:
      outputs: scale -> output, 1.0 among the scales.
      labels: `[B, H, W]` uint8 at scale 1; a label that is no class is ignored.
      aux_weight: weight of the auxiliary loss (paper: 0.4).
      scale_weight: weight of each scale's own loss (0.05 on Cityscapes, else 0).
      fusion_resolution: one of `fusion.RESOLUTIONS`.

    Returns:
      The loss, a scalar, and its terms by name, before weighting.
    """
    size = labels.shape[1:3]
    logits = {scale: output.logits for scale, output in outputs.items()}
    aux_logits = {scale: output.aux_logits for scale, output in outputs.items()}
    attention = {scale: output.attention for scale, output in outputs.items()}
    grid = size if fusion_resolution == "image" else logits[1.0].shape[1:3]

    def fused_loss(logits):
        joint = fusion.hierarchical(logits, attention, grid, resolution=fusion_resolution)
        return cross_entropy(resize_bilinear(joint, size), labels)

    terms = {"main": fused_loss(logits), "aux": fused_loss(aux_logits)}
    loss = terms["main"] + aux_weight * terms["aux"]
    if scale_weight:
        each = fusion.each_resized(logits, size, resolution=fusion_resolution)
        terms["scales"] = sum(cross_entropy(own, labels) for own in each)
        loss = loss + scale_weight * terms["scales"]
    return loss, terms
