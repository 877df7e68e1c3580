"""A way to predict: which scales, and how they are combined."""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.inference.window import of_window
from hmsa_jax.input.photometric import normalize
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.layers.canvas import Canvas, Extent
from hmsa_jax.models.multiscale import ScaleOutput

_LISTED = 5  # images in an error


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One column of a results table.

    Attributes:
      method: name in `fusion.FUSIONS`.
      scales: in ascending order.
      percent: of the pixels of an image, how many the network sees at the highest scale; fewer than
        100: those of a window.
    """

    method: str
    scales: tuple[float, ...]
    percent: int = dataclasses.field(default=100, kw_only=True)

    @property
    def fusion(self) -> fusion.Fusion:
        """How the scales are combined."""
        return fusion.FUSIONS.get(self.method)

    @property
    def name(self) -> str:
        """For example `hierarchical (0.5, 1, 2)`, or `hierarchical (0.5, 1, 2) at 50 %`."""
        scales = ", ".join(map(text_of, self.scales))
        return f"{self.method} ({scales})" + (f" at {self.percent} %" if self.is_selective else "")

    @property
    def text(self) -> str:
        """As `parse` reads it, for example `hierarchical:0.5,1,2`."""
        scales = ",".join(map(text_of, self.scales))
        if self.fusion.takes_one_scale:
            return self.method
        return f"{self.method}:{scales}" + (f"@{self.percent}%" if self.is_selective else "")

    @property
    def is_selective(self) -> bool:
        """Whether the network sees the highest scale through a window alone."""
        return self.percent < 100

    @property
    def whole_scales(self) -> tuple[float, ...]:
        """At which the network looks at images as a whole."""
        return self.scales[:-1] if self.is_selective else self.scales

    def predict(
        self, outputs: dict[float, ScaleOutput], size: Extent, resolution: str
    ) -> jax.Array:
        """Logits `[B, H, W, C]` of this size or canvas from outputs of at least these scales."""
        logits = {scale: outputs[scale].logits for scale in self.scales}
        return self._fuse(logits, outputs, size, resolution)

    def by_scale(
        self, outputs: dict[float, ScaleOutput], size: Extent, resolution: str
    ) -> "ByScale":
        """What each scale says by itself, from the outputs of at least these scales.

        Where the network did not look at the highest scale, the next one stands for it.
        """
        logits = {scale: outputs[scale].logits for scale in self.scales}
        marks = fusion.indicators(logits)
        resized = functools.partial(
            fusion.each_resized,
            size=size,
            resolution=resolution,
            scaled_size=self.fusion.scaled_size,
        )
        each = resized(logits)
        coverage = self._coverage(outputs)
        if coverage is not None:
            highest = self.scales[-1]
            marks[highest] = marks[highest] * coverage
            covered, *_ = resized({1.0: marks[1.0], highest: coverage})
            known = jnp.maximum(covered, jnp.finfo(covered.dtype).tiny)
            each[0] = jnp.where(covered > 0, each[0] / known, each[1])
        weights = None
        if self.fusion.is_linear:
            shares = self._fuse(marks, outputs, size, resolution)
            weights = fusion.by_scale(shares, self.scales)
        return ByScale(dict(zip(reversed(self.scales), each, strict=True)), weights)

    def attention_of(
        self, outputs: dict[float, ScaleOutput], size: Extent
    ) -> dict[float, jax.Array | None]:
        """The attention that the scales are fused with, from what `predict` is given."""
        del size
        return {scale: outputs[scale].attention for scale in self.scales}

    @jax.named_scope("fusion")
    def _fuse(self, logits, outputs, size, resolution):
        if self.fusion.attention is None:
            return self.fusion.fuse(logits, size, resolution=resolution)
        attention = self.attention_of(outputs, size)
        coverage = self._coverage(outputs)
        partly = {} if coverage is None else {"coverage": coverage}
        return self.fusion.fuse(logits, attention, size, resolution=resolution, **partly)

    def _coverage(self, outputs: dict[float, ScaleOutput]) -> jax.Array | None:
        return outputs[self.scales[-1]].coverage if self.is_selective else None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ByScale:
    """What each scale of a protocol says by itself.

    Attributes:
      logits: scale -> `[B, H, W, C]` float32.
      weights: scale -> its share in the fused logits, `[B, H, W, 1]` float32, which sum to 1 over
        the scales; None where the method is not linear in the logits.
    """

    logits: dict[float, jax.Array]
    weights: dict[float, jax.Array] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ProtocolOutput:
    """What a protocol predicts.

    Attributes:
      logits: `[B, H, W, C]` float32.
      scales: what its scales say by themselves, where that was asked for.
    """

    logits: jax.Array
    scales: ByScale | None = None


def text_of(scale: float) -> str:
    """A scale in the name of a protocol, in full, since it is read from there again.

    >>> text_of(1.0), text_of(1 / 3)
    ('1', '0.3333333333333333')
    """
    return repr(scale).removesuffix(".0")


def expected() -> str:
    """What a string of `evaluate.protocols` may be, in words."""
    methods = {name: fusion.FUSIONS.get(name) for name in fusion.FUSIONS.names()}
    alone = [repr(name) for name, method in methods.items() if method.takes_one_scale]
    selective = [repr(name) for name, method in methods.items() if method.is_selective]
    return (
        "METHOD:SCALES, like 'hierarchical:0.5,1,2', with METHOD one of"
        f" {tuple(methods)}, scale 1 among the scales and none twice"
        f" ({', '.join(alone)} alone takes none); of {', '.join(selective)} a highest scale above 1"
        " may be seen through a window of 1 to 100 % of the pixels: 'hierarchical:0.5,1,2@50%'"
    )


def parse(text: str, name: str = "a protocol") -> Protocol:
    """Reads `METHOD:SCALES`, or `single`.

    Args:
      text: as the user wrote it.
      name: of the flag, as the user spells it.

    Raises:
      ValueError: it is no such text.

    >>> parse("hierarchical:2,0.5,1")
    Protocol(method='hierarchical', scales=(0.5, 1.0, 2.0), percent=100)
    >>> parse("hierarchical:0.5,1,2@50%").name
    'hierarchical (0.5, 1, 2) at 50 %'
    >>> parse("single").name
    'single (1)'
    """
    chain, at, percent = text.partition("@")
    method, _, listed = chain.partition(":")
    try:
        scales = sorted(float(scale) for scale in listed.split(",")) if listed else [1.0]
    except ValueError:
        scales = []
    positive = all(0 < scale < math.inf for scale in scales)
    possible = 1.0 in scales and positive and len(set(scales)) == len(scales)
    if possible and method in fusion.FUSIONS.names():
        possible = fusion.FUSIONS.get(method).takes_one_scale == (len(scales) == 1)
    else:
        possible = False
    if at and possible:
        possible = fusion.FUSIONS.get(method).is_selective and max(scales) > 1
        possible = possible and re.fullmatch(r"[1-9]\d?%|100%", percent) is not None
    if not possible:
        raise ValueError(f"{name} is {text!r}; expected {expected()}")
    return Protocol(method, tuple(scales), percent=int(percent[:-1]) if at else 100)


def of_name(name: str) -> Protocol:
    """The protocol that has this name.

    Raises:
      ValueError: none has.

    >>> of_name("hierarchical (0.5, 1, 2)")
    Protocol(method='hierarchical', scales=(0.5, 1.0, 2.0), percent=100)
    >>> of_name("hierarchical (0.5, 1, 2) at 50 %").text
    'hierarchical:0.5,1,2@50%'
    """
    return parse(name.replace(" (", ":").replace(") at ", "@").replace(" %", "%").rstrip(")"))


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
    each_scale: bool = False,
    sizes: jax.Array | None = None,
) -> list[ProtocolOutput]:
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
      each_scale: whether to return what each scale says, too.
      sizes: int32 `[B, 2]`, rows and columns of each image at the top left of its array; None where
        the images fill it. What is predicted outside of them has no meaning.

    Returns:
      What each protocol predicts, at the size of the images.
    """
    size = (images.shape[1], images.shape[2])
    canvas = Canvas(size, sizes)
    floored: fusion.ScaledSize = fusion.scaled_size
    others = dict.fromkeys(p.fusion.scaled_size for p in protocols)
    others.pop(floored, None)
    # Only where the sizes differ a scale runs once for each of them.
    apart = {
        scaled_size: tuple(
            scale
            for scale in _scales_of(protocols, scaled_size)
            if not canvas.is_same(scaled_size, floored, scale)
        )
        for scaled_size in others
    }
    needed = set(_scales_of(protocols, floored))
    for scaled_size, scales in apart.items():
        needed.update(set(_scales_of(protocols, scaled_size)).difference(scales))
    shared = tuple(sorted(needed))

    def predict(images):
        with jax.named_scope("input"):
            images = normalize(images)
        run = functools.partial(
            multiscale.apply, graphdef, params, batch_stats, images, sizes=sizes
        )
        outputs = {floored: run(shared, train=False)[0]}
        for scaled_size, scales in apart.items():
            outputs[scaled_size] = outputs[floored]
            if scales:
                outputs[scaled_size] = (
                    outputs[floored] | run(scales, train=False, scaled_size=scaled_size)[0]
                )
        return [predict_by(protocol, images, outputs) for protocol in protocols]

    def predict_by(protocol, images, outputs):
        said = outputs[protocol.fusion.scaled_size]
        if protocol.is_selective:
            highest = protocol.scales[-1]
            seen = of_window(said, protocol.scales, protocol.percent, images, canvas, look)
            said = said | {highest: seen}
        by_scale = protocol.by_scale(said, canvas, resolution) if each_scale else None
        return ProtocolOutput(protocol.predict(said, canvas, resolution), by_scale)

    def look(pixels, sizes):
        said, _ = multiscale.apply(
            graphdef, params, batch_stats, pixels, (1.0,), train=False, sizes=sizes
        )
        return said[1.0]

    if not flip:
        return predict(images)
    return jax.tree.map(mean_of_views, both_views(predict, images, canvas))


def both_views(predict: Callable[[jax.Array], Any], images: jax.Array, canvas: Canvas) -> Any:
    """What is predicted of images and of their mirror images, the latter mirrored back.

    Args:
      predict: of images to a tree of arrays `[B, H, W, ...]`.
      images: uint8 `[B, H, W, 3]`.
      canvas: on which they lie.

    Returns:
      The tree, whose arrays `[2, B, H, W, ...]` hold both.
    """

    def predict_view(is_mirrored):
        outputs = predict(jnp.where(is_mirrored, canvas.mirror(images), images))
        return jax.tree.map(lambda x: jnp.where(is_mirrored, canvas.mirror(x), x), outputs)

    # A loop: half as much to compile as both views written out, and never both in memory.
    return jax.lax.map(predict_view, jnp.array([False, True]))


def mean_of_views(of_both: jax.Array) -> jax.Array:
    """The mean of what `both_views` has of each, `[2, ...]`."""
    return (of_both[0] + of_both[1]) / 2


def _scales_of(protocols: Sequence[Protocol], scaled_size: fusion.ScaledSize) -> tuple[float, ...]:
    """The scales at which protocols whose images have these sizes look at them as a whole."""
    chosen = [p for p in protocols if p.fusion.scaled_size is scaled_size]
    return tuple(sorted({scale for protocol in chosen for scale in protocol.whole_scales}))
