"""A way to predict: which scales, and how they are combined."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.multiscale import ScaleOutput

METHODS = ("single", "average", "max", "hierarchical", "explicit")
ATTENTIVE = ("hierarchical", "explicit")  # of a network with that attention only
AVERAGING = ("average", "max")  # whose scaled sizes are rounded, as in the published code
_LISTED = 5  # images in an error
EXPECTED = (
    "a tuple of strings METHOD:SCALES, like 'hierarchical:0.5,1,2', with METHOD one of "
    f"{METHODS}, scale 1 among the scales and none twice ('single' alone takes none)"
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One column of a results table.

    Attributes:
      method: one of `METHODS`.
      scales: in ascending order.
    """

    method: str
    scales: tuple[float, ...]

    @property
    def name(self) -> str:
        """For example `hierarchical (0.5, 1, 2)`."""
        return f"{self.method} ({', '.join(f'{scale:g}' for scale in self.scales)})"

    def predict(
        self, outputs: dict[float, ScaleOutput], size: tuple[int, int], resolution: str
    ) -> jax.Array:
        """Logits `[B, *size, C]` from the outputs of at least these scales."""
        logits = {scale: outputs[scale].logits for scale in self.scales}
        if self.method in ATTENTIVE:
            attention = {scale: outputs[scale].attention for scale in self.scales}
            fuse = {"hierarchical": fusion.hierarchical, "explicit": fusion.explicit}
            return fuse[self.method](logits, attention, size, resolution=resolution)
        fuse = {"single": fusion.single, "average": fusion.average, "max": fusion.maximum}
        return fuse[self.method](logits, size, resolution=resolution)


def parse(text: str) -> Protocol:
    """Reads `METHOD:SCALES`, or `single`.

    Raises:
      ValueError: it is no such text.

    >>> parse("hierarchical:2,0.5,1")
    Protocol(method='hierarchical', scales=(0.5, 1.0, 2.0))
    >>> parse("single").name
    'single (1)'
    """
    method, _, listed = text.partition(":")
    try:
        scales = sorted(float(scale) for scale in listed.split(",")) if listed else [1.0]
    except ValueError:
        scales = []
    plain = method == "single"
    positive = all(0 < scale < math.inf for scale in scales)
    possible = 1.0 in scales and positive and len(set(scales)) == len(scales)
    if method not in METHODS or not possible or plain != (len(scales) == 1):
        raise ValueError(f"protocol {text!r}: expected {EXPECTED}")
    return Protocol(method, tuple(scales))


def parse_all(texts: Sequence[str]) -> tuple[Protocol, ...]:
    """Reads several; ValueError as in `parse`."""
    return tuple(parse(text) for text in texts)


def is_finite(logits: jax.Array) -> jax.Array:
    """Whether all logits `[B, H, W, C]` of an image are, bool `[B]`."""
    return jnp.isfinite(logits).all((1, 2, 3))


def refuse_not_finite(ids: Sequence[str]) -> None:
    """Raises FloatingPointError, naming the images, if there are any of such logits.

    Args:
      ids: of the images whose logits are not finite.
    """
    if len(ids):
        more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
        raise FloatingPointError(
            f"the network predicts what is not finite for {', '.join(ids[:_LISTED])}{more}: its"
            " weights have gone wrong, or its activations overflow. Take an earlier checkpoint"
            " (--step), or other weights."
        )


def predict_all(
    protocols: Sequence[Protocol],
    graphdef: nnx.GraphDef,
    params: dict,
    batch_stats: dict,
    images: jax.Array,
    *,
    resolution: str,
    flip: bool,
) -> list[jax.Array]:
    """The logits of each protocol. Each scale runs once, however many protocols use it.

    The published average rounds the sizes of scaled images, the hierarchy cuts them off: where
    these differ, as at odd sizes, a scale runs once for each.

    Args:
      protocols: what to predict by.
      graphdef: the network.
      params: of the network.
      batch_stats: of the network.
      images: uint8 `[B, H, W, 3]`.
      resolution: one of `fusion.RESOLUTIONS`.
      flip: whether to take the mean with the logits of the mirror image (paper section 5.1.1).

    Returns:
      Logits `[B, H, W, C]` float32 of each protocol.
    """
    size = images.shape[1:3]
    floored = _scales_of(p for p in protocols if p.method not in AVERAGING)
    rounded = _scales_of(p for p in protocols if p.method in AVERAGING)
    # Only where the sizes differ a scale runs once for each of them.
    apart = tuple(s for s in rounded if fusion.rounded_size(size, s) != fusion.scaled_size(size, s))
    shared = tuple(sorted({*floored, *rounded}.difference(s for s in apart if s not in floored)))

    def predict(images):
        images = normalize(images)
        run = functools.partial(multiscale.apply, graphdef, params, batch_stats, images)
        outputs, _ = run(shared, train=False)
        of_rounded = outputs
        if apart:
            of_rounded = outputs | run(apart, train=False, scaled_size=fusion.rounded_size)[0]
        return [
            protocol.predict(
                of_rounded if protocol.method in AVERAGING else outputs, size, resolution
            )
            for protocol in protocols
        ]

    def predict_view(is_mirrored):
        logits = predict(jnp.where(is_mirrored, images[:, :, ::-1], images))
        return [jnp.where(is_mirrored, x[:, :, ::-1], x) for x in logits]

    if not flip:
        return predict(images)
    # A loop: half as much to compile as both views written out, and never both in memory.
    both = jax.lax.map(predict_view, jnp.array([False, True]))
    return [(plain + mirrored) / 2 for plain, mirrored in both]


def _scales_of(protocols: Iterable[Protocol]) -> tuple[float, ...]:
    return tuple(sorted({scale for protocol in protocols for scale in protocol.scales}))
