"""Hierarchical prediction by many sets of scales at once: each scale runs once for all of them."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.distributed.sharding import replicated
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input.photometric import normalize
from hmsa_jax.metrics import confusion
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.fusion import Link
from hmsa_jax.models.layers.canvas import Canvas

METHOD = "hierarchical"
SINGLE = Protocol("single", (1.0,))
MOST_SCALES = 13  # 4096 subsets

Piece = tuple[float, bool]
"""A scale, and whether it is the highest of a subset: its attention is not needed then."""


def scales_of(text: str) -> tuple[float, ...]:
    """Reads a list of scales.

    Returns:
      They, in ascending order.

    Raises:
      ValueError: it is no such list, or too long.

    >>> scales_of("1,0.5,2")
    (0.5, 1.0, 2.0)
    """
    try:
        if "@" in text:  # each subset looks at whole images
            raise ValueError
        scales = protocol_lib.parse(f"{METHOD}:{text}").scales
        if len({f"{scale:g}" for scale in scales}) < len(scales):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--scales is {text!r}; expected numbers above 0 like 0.5,1,2, with 1 and another one"
            " among them, none twice to six digits and none through a window"
        ) from None
    if len(scales) > MOST_SCALES:
        raise ValueError(
            f"--scales names {len(scales)}, which have {2 ** (len(scales) - 1)} subsets with scale"
            f" 1; expected {MOST_SCALES} scales at most, {2 ** (MOST_SCALES - 1)} subsets"
        )
    return scales


def subsets_of(scales: Sequence[float]) -> tuple[Protocol, ...]:
    """Every subset that holds scale 1, as a protocol: the small ones first.

    >>> [subset.name for subset in subsets_of((0.5, 1.0, 2.0))]
    ['single (1)', 'hierarchical (0.5, 1)', 'hierarchical (1, 2)', 'hierarchical (0.5, 1, 2)']
    """
    others = [scale for scale in sorted(scales) if scale != 1]
    chosen = (itertools.combinations(others, count) for count in range(len(others) + 1))
    return tuple(
        Protocol(METHOD, tuple(sorted((1.0, *each)))) if each else SINGLE
        for each in itertools.chain.from_iterable(chosen)
    )


def make_subset_step(predictor: Predictor, *, classes: int) -> jax.stages.Wrapped:
    """Compiles to what `evaluation.make_evaluation_step` does, for subsets of some scales.

    The fusion of a subset is the body of a loop: what is to compile, and its memory, do not grow
    with their number.

    Args:
      predictor: the network and the subsets, from `subsets_of`; its fusion resolution is
        `features`.
      classes: number of classes.
    """
    subsets, scales = predictor.protocols, scales_in(predictor.protocols)
    masks = np.array([[scale in subset.scales for scale in scales] for subset in subsets])
    links_of = views_function(predictor, scales, lambda links: links)

    def predict(params, batch_stats, arrays):
        links = links_of(params, batch_stats, arrays)

        def of_subset(is_in: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = _mean(fusion.chained(links, is_in))
            predicted, _ = predictor_lib.most_probable(logits)
            matrices = confusion.confusion_matrices(arrays["label"], predicted, classes)
            return matrices, protocol_lib.is_finite(logits)

        counts, finite = jax.lax.map(of_subset, jnp.asarray(masks))
        summary = {"confusion": jnp.moveaxis(counts, 0, 1), "metrics": {}}
        return summary, finite.all(0)

    return predictor_lib.step_of(predict, predictor.mesh, replicated(predictor.mesh))


def pieces_of(subset: Protocol) -> tuple[Piece, ...]:
    """The pieces that a prediction by a subset is made of.

    >>> pieces_of(Protocol("hierarchical", (0.5, 1.0)))
    ((0.5, False), (1.0, True))
    """
    return tuple((scale, scale == max(subset.scales)) for scale in subset.scales)


def make_piece_step(predictor: Predictor, piece: Piece) -> jax.stages.Wrapped:
    """Compiles to `(params, batch_stats, batch) -> (sums, finite)`: what a scale takes by itself.

    It does all that a prediction does with the scale but to blend it: it scales the images, runs
    the network and resizes what comes out. The sums, `[B]` each, are there so that nothing is left
    out.

    Args:
      predictor: the network.
      piece: any.
    """
    scale, is_highest = piece

    def needed(links: dict[float, Link]) -> list[jax.Array]:
        link = links[scale]
        return [link.logits] if is_highest else [link.product, link.attention]

    in_views = views_function(predictor, (scale,), needed)

    def predict(params, batch_stats, arrays):
        sums = [x.sum((0, 2, 3, 4)) for x in in_views(params, batch_stats, arrays)]
        return sums, jnp.isfinite(sums[0])

    return predictor_lib.step_of(predict, predictor.mesh, replicated(predictor.mesh))


def scales_in(protocols: Sequence[Protocol]) -> tuple[float, ...]:
    """All scales of some protocols, in ascending order."""
    return tuple(sorted({scale for protocol in protocols for scale in protocol.scales}))


def views_function(
    predictor: Predictor, scales: tuple[float, ...], needed: Callable[[dict[float, Link]], Any]
) -> Callable:
    """The pure function `(params, batch_stats, batch) -> what is needed of the links`.

    Args:
      predictor: the network, and whether the mirror image is looked at, too.
      scales: at which it looks.
      needed: of what `fusion.links` returns of the scales, a tree of arrays `[B, H, W, ...]`.

    Returns:
      A function to that tree, with the views, one or two, as the first axis of all arrays.
    """

    def of_batch(params, batch_stats, arrays):
        images, sizes = arrays["image"], arrays.get("size")
        canvas = Canvas((images.shape[1], images.shape[2]), sizes)

        def of_view(images):
            outputs, _ = multiscale.apply(
                predictor.graphdef,
                params,
                batch_stats,
                normalize(images),
                scales,
                train=False,
                sizes=sizes,
            )
            logits = {scale: output.logits for scale, output in outputs.items()}
            attention = {
                scale: output.attention
                for scale, output in outputs.items()
                if output.attention is not None
            }
            return needed(fusion.links(logits, attention, canvas))

        if predictor.flip:
            return protocol_lib.both_views(of_view, images, canvas)
        return jax.tree.map(lambda x: x[None], of_view(images))

    return of_batch


def _mean(of_views: jax.Array) -> jax.Array:
    return of_views[0] if len(of_views) == 1 else protocol_lib.mean_of_views(of_views)
