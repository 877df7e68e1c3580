"""Combining the predictions of several scales: pure functions of arrays.

Every function takes, for each scale r, logits at that scale's head resolution (a quarter of the
scaled image), and returns logits at the size asked for. `resolution` says where the products of
equation 1 are taken:

  features  at the resolution of the scale's head, then upsampled (the paper);
  image     at the full size of the scaled image (the published code): sixteen times the memory.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp

from hmsa_jax.models.layers.canvas import Canvas, Extent, ScaledSize, Size, resize
from hmsa_jax.models.layers.strip import Strip
from hmsa_jax.runtime.registry import Registry

RESOLUTIONS = ("features", "image")

Scales = Mapping[float, jax.Array]


def scaled_size(size: Size, scale: float) -> Size:
    """Rows and columns of an image of `size` scaled by `scale`: floor(H x r), floor(W x r).

    Raises:
      ValueError: there are none.

    >>> scaled_size((1024, 2049), 0.5)
    (512, 1024)
    """
    return _not_empty(size, scale, (int(size[0] * scale), int(size[1] * scale)))


def rounded_size(size: Size, scale: float) -> Size:
    """The same, rounded (halves to even), as the published code has it when it averages scales.

    >>> rounded_size((1023, 2047), 0.5)
    (512, 1024)
    """
    return _not_empty(size, scale, (round(size[0] * scale), round(size[1] * scale)))


def _not_empty(size: Size, scale: float, scaled: Size) -> Size:
    if not all(scaled):
        raise ValueError(
            f"scale {scale:g} leaves nothing of an image of {size[0]} x {size[1]} pixels; expected"
            " a larger scale"
        )
    return scaled


def hierarchical(
    logits: Scales,
    attention: Scales,
    size: Extent,
    *,
    resolution: str,
    coverage: jax.Array | None = None,
) -> jax.Array:
    """The chain of attentions, from the highest scale down (paper section 3, equation 1).

    L = U(L_r * a_r) + (1 - U(a_r)) * L for each scale r below the highest: the attention of a
    scale says how far to trust it rather than all higher ones. The attention of the highest scale
    is not used. Training uses it with two scales, inference with any number.

    Args:
      logits: scale -> `[B, h_r, w_r, C]`, float32; scale 1.0 among them.
      attention: scale -> `[B, h_r, w_r, 1]` in [0, 1], for every scale but the highest.
      size: rows and columns of the result: of the image, or in training with `features` of the
        head at scale 1.0. Or the canvas on which the images lie, or the strip of an image.
      resolution: one of `RESOLUTIONS`.
      coverage: `[B, h_r, w_r, 1]` in [0, 1] where the highest scale was not looked at everywhere:
        how far it was, and its logits are multiplied by it. The chain of the others makes up for
        the rest: where coverage is 0 it begins one scale lower.

    Returns:
      `[B, *size, C]`.

    Raises:
      ValueError: scale 1.0 is missing, or the attention of a scale, or `resolution` is unknown.

    The attention of scale 0.5 trusts it with a quarter, and the rest goes to scale 1:

    >>> logits = {0.5: jnp.full((1, 2, 2, 1), 8.0), 1.0: jnp.full((1, 4, 4, 1), 4.0)}
    >>> attention = {0.5: jnp.full((1, 2, 2, 1), 0.25)}
    >>> fused = hierarchical(logits, attention, (4, 4), resolution="features")
    >>> fused.shape, float(fused[0, 0, 0, 0])
    ((1, 4, 4, 1), 5.0)
    """
    scales = _descending(logits, resolution)
    missing = [scale for scale in scales[1:] if attention.get(scale) is None]
    if missing:
        raise ValueError(f"hierarchical fusion needs the attention of scales {missing}")
    image = Canvas.of(size)
    fused, canvas = _at_scaled_image(logits[scales[0]], scales[0], image, resolution)
    for scale in scales[1:]:
        p, own = _at_scaled_image(logits[scale], scale, image, resolution)
        a, _ = _at_scaled_image(attention[scale], scale, image, resolution)
        target = _working_canvas(image, scale, resolution)
        product, weight = resize(a * p, own, target), resize(a, own, target)
        higher = (1 - weight) * resize(fused, canvas, target)
        if coverage is None:
            fused = product + higher
        else:
            covered, _ = _at_scaled_image(coverage, scales[0], image, resolution)
            covered = resize(covered, canvas, target)
            fused = covered * product + higher + (1 - covered) * resize(p, own, target)
            coverage = None
        canvas = target
    return resize(fused, canvas, image)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Link:
    """What a scale brings to the chain of attentions, at the size of the result.

    Attributes:
      logits: U(L_r), `[B, H, W, C]`: what the chain begins with where the scale is the highest.
      product: U(L_r * a_r), `[B, H, W, C]`.
      attention: U(a_r), `[B, H, W, 1]`.
    """

    logits: jax.Array
    product: jax.Array
    attention: jax.Array


def links(logits: Scales, attention: Scales, size: Extent) -> dict[float, Link]:
    """What `hierarchical` of any of these scales is made of, at the resolution `features`.

    There every step of the chain has the size of the result, so that a scale is resized once for
    all sets of scales that it is in.

    Args:
      logits: as for `hierarchical`, of any scales.
      attention: scale -> `[B, h_r, w_r, 1]`, for every scale.
      size: as for `hierarchical`.
    """
    image, found = Canvas.of(size), {}
    for scale, p in logits.items():
        own, a = _own_canvas(p, scale, image), attention[scale]
        p_up, product, weight = (resize(x, own, image) for x in (p, a * p, a))
        found[scale] = Link(p_up, product, weight)
    return found


def chained(links: Mapping[float, Link], is_in: jax.Array) -> jax.Array:
    """`hierarchical` of some of the scales; which ones need not be known before it runs.

    Args:
      links: as `links` returns them, scale 1.0 among them; more axes may lead.
      is_in: bool `[scales]`, whether each scale is one of them, in ascending order; scale 1.0 is.

    Returns:
      `[B, H, W, C]`.

    >>> logits = {0.5: jnp.full((1, 2, 2, 1), 8.0), 1.0: jnp.full((1, 4, 4, 1), 4.0)}
    >>> attention = {scale: jnp.full_like(p, 0.25) for scale, p in logits.items()}
    >>> of_each = links(logits, attention, (4, 4))
    >>> for is_in in ([False, True], [True, True]):
    ...     print(chained(of_each, jnp.array(is_in))[0, 0, 0, 0])
    4.0
    5.0
    """
    (highest, has_higher), *lower = reversed(list(zip(sorted(links), is_in, strict=True)))
    fused = links[highest].logits
    for scale, here in lower:
        link = links[scale]
        with_link = link.product + (1 - link.attention) * fused
        if scale >= 1:  # below, there is always a higher one
            with_link = jnp.where(has_higher, with_link, link.logits)
        fused, has_higher = jnp.where(here, with_link, fused), has_higher | here
    return fused


def explicit(logits: Scales, shares: Scales, size: Extent, *, resolution: str) -> jax.Array:
    """The sum of all scales' logits, each weighted by its share (Chen et al. 2016, equation 1).

    The baseline that the paper calls explicit (section 3).

    Args:
      logits: as in `hierarchical`.
      shares: scale -> `[B, h, w, 1]` of one resolution; those of a pixel sum to 1.
      size: as in `hierarchical`.
      resolution: as in `hierarchical`.

    Returns:
      `[B, *size, C]`.

    Raises:
      ValueError: as in `hierarchical`.
    """
    scales = _descending(logits, resolution)
    missing = [scale for scale in scales if shares.get(scale) is None]
    if missing:
        raise ValueError(f"explicit fusion needs the shares of scales {missing}")
    image = Canvas.of(size)
    of_shares = _own_canvas(shares[1.0], 1.0, image)
    if resolution == "image":
        each = each_resized(logits, image, resolution=resolution)
        weighted = [
            resize(shares[r], of_shares, image) * p for r, p in zip(scales, each, strict=True)
        ]
    else:
        own = {r: _own_canvas(logits[r], r, image) for r in scales}
        weighted = [
            resize(resize(shares[r], of_shares, own[r]) * logits[r], own[r], image) for r in scales
        ]
    return sum(weighted[1:], weighted[0])


def each_resized(
    logits: Scales, size: Extent, *, resolution: str, scaled_size: ScaledSize = scaled_size
) -> list[jax.Array]:
    """Every scale's own logits at `size`, the highest scale first.

    Arguments as above, and `scaled_size`, which says how large the image was at each scale.
    """
    scales = _descending(logits, resolution)
    image = Canvas.of(size)
    each = [_at_scaled_image(logits[r], r, image, resolution, scaled_size) for r in scales]
    return [resize(x, canvas, image) for x, canvas in each]


def average(logits: Scales, size: Extent, *, resolution: str) -> jax.Array:
    """The mean of all scales' logits at `size`; the paper's baseline.

    Arguments as above; the logits are those of images of `rounded_size`.
    """
    each = each_resized(logits, size, resolution=resolution, scaled_size=rounded_size)
    return sum(each[1:], each[0]) / len(logits)


def maximum(logits: Scales, size: Extent, *, resolution: str) -> jax.Array:
    """The largest of all scales' logits, class by class, at `size`. Arguments as in `average`."""
    each = each_resized(logits, size, resolution=resolution, scaled_size=rounded_size)
    return jnp.stack(each).max(0)


def single(logits: Scales, size: Extent, *, resolution: str) -> jax.Array:
    """The logits of scale 1.0 alone, resized to `size`. Arguments as above."""
    _descending(logits, resolution)
    image = Canvas.of(size)
    return resize(logits[1.0], _own_canvas(logits[1.0], 1.0, image), image)


def attention_weights(
    attention: Scales, size: Extent, *, resolution: str
) -> dict[float, jax.Array]:
    """The share of each scale in the hierarchical result; all shares of a pixel sum to 1.

    The chain is linear in the logits: fed with a constant indicator of each scale in place of
    logits it returns the weights.

    Args:
      attention: scale -> `[B, h_r, w_r, 1]`, for every scale (that of the highest gives its shape).
      size: as in `hierarchical`.
      resolution: as in `hierarchical`.

    Returns:
      scale -> `[B, *size, 1]`.

    >>> attention = {scale: jnp.full((1, 2, 2, 1), 0.25) for scale in (0.5, 1.0, 2.0)}
    >>> weights = attention_weights(attention, (2, 2), resolution="features")
    >>> {scale: float(weight[0, 0, 0, 0]) for scale, weight in weights.items()}
    {0.5: 0.25, 1.0: 0.1875, 2.0: 0.5625}
    """
    shares = hierarchical(indicators(attention), attention, size, resolution=resolution)
    return by_scale(shares, attention)


def indicators(arrays: Scales) -> dict[float, jax.Array]:
    """Logits that mark each scale: what is linear in logits makes the shares of scales of them.

    Args:
      arrays: scale -> `[B, h_r, w_r, ...]`, of which the shapes count.

    Returns:
      scale -> `[B, h_r, w_r, scales]` float32, 1 in the channel of that scale, in ascending order.
    """
    ones = jnp.eye(len(arrays), dtype=jnp.float32)
    return {
        scale: jnp.broadcast_to(ones[i], (*arrays[scale].shape[:3], len(arrays)))
        for i, scale in enumerate(sorted(arrays))
    }


def by_scale(shares: jax.Array, scales: Iterable[float]) -> dict[float, jax.Array]:
    """scale -> `[B, H, W, 1]`, from the channels `[B, H, W, scales]` that `indicators` has."""
    return {scale: shares[..., i : i + 1] for i, scale in enumerate(sorted(scales))}


def _descending(logits: Scales, resolution: str) -> list[float]:
    if resolution not in RESOLUTIONS:
        raise ValueError(f"fusion resolution is {resolution!r}; expected one of {RESOLUTIONS}")
    if 1.0 not in logits:
        raise ValueError(f"scales are {sorted(logits)}; scale 1.0 must be among them")
    return sorted(logits, reverse=True)


def _own_canvas(
    x: jax.Array, scale: float, image: Canvas | Strip, scaled_size: ScaledSize = scaled_size
) -> Canvas | Strip:
    """The canvas of features of the image at a scale."""
    if isinstance(image, Canvas) and image.valid is None:
        return image.of_features(x)
    return image.scaled(scale, scaled_size).of_features(x)


def _at_scaled_image(
    x: jax.Array,
    scale: float,
    image: Canvas | Strip,
    resolution: str,
    scaled_size: ScaledSize = scaled_size,
) -> tuple[jax.Array, Canvas | Strip]:
    """Features of a scale as they are, or at the size of the scaled image; and their canvas."""
    own = _own_canvas(x, scale, image, scaled_size)
    if resolution == "features":
        return x, own
    target = image.scaled(scale, scaled_size)
    return resize(x, own, target), target


def _working_canvas(image: Canvas | Strip, scale: float, resolution: str) -> Canvas | Strip:
    """Scales above 1 blend at their own image size in the published code, all others at 1."""
    return image.scaled(max(scale, 1.0), scaled_size) if resolution == "image" else image


@dataclasses.dataclass(frozen=True)
class Fusion:
    """An entry of `FUSIONS`.

    Attributes:
      fuse: `(logits, size, resolution=) -> [B, *size, C]`; with attention, `(logits, attention,
        size, resolution=)`.
      attention: name in `attentions.ATTENTIONS` of what it needs of the network; None for nothing.
      scaled_size: says how large the image is at each scale.
      takes_one_scale: whether it takes scale 1 alone.
      is_linear: whether the result is linear in the logits: each scale has a share in it.
      is_selective: whether it can do with a highest scale that was not looked at everywhere, and
        takes its `coverage`.
    """

    fuse: Callable[..., jax.Array]
    attention: str | None = None
    scaled_size: ScaledSize = scaled_size
    takes_one_scale: bool = False
    is_linear: bool = False
    is_selective: bool = False


FUSIONS: Registry[Fusion] = Registry(
    "fusion",
    {
        "single": Fusion(single, takes_one_scale=True, is_linear=True),
        "average": Fusion(average, scaled_size=rounded_size, is_linear=True),
        "max": Fusion(maximum, scaled_size=rounded_size),
        "hierarchical": Fusion(
            hierarchical, attention="hierarchical", is_linear=True, is_selective=True
        ),
        "explicit": Fusion(explicit, attention="explicit", is_linear=True),
    },
)
