"""The layers that have an output for each class, brought to other classes."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

LAYERS = ("semantic_head.output", "decoder.aux_head.output")
"""Their paths in the parameters; a network has one of them or both."""


def with_classes(params: dict, drawn: dict, theirs: Sequence[str], ours: Sequence[str]) -> dict:
    """Parameters of a network whose classes are others, as far as names agree.

    Args:
      params: of that network, nested dict of host arrays; the classes are the last axis of a layer
        in `LAYERS`.
      drawn: of a network with our classes.
      theirs: names of the classes of `params`.
      ours: names of those of `drawn`.

    Returns:
      `params` with our classes: an output has the weights of the class of its name, and is as drawn
      if there is none. A layer that shares no class, or has other inputs, is left out.
    """
    number = {name: i for i, name in enumerate(theirs)}
    here = [i for i, name in enumerate(ours) if name in number]
    there = [number[ours[i]] for i in here]
    result = jax.tree.map(lambda leaf: leaf, params)  # other dicts, the same arrays
    for layer in LAYERS:
        *parents, last = layer.split(".")
        group, like = (
            functools.reduce(lambda tree, key: tree.get(key, {}), parents, tree)
            for tree in (result, drawn)
        )
        if last not in group:
            continue
        of_layer, of_drawn = group.pop(last), like.get(last, {})
        expected = {name: (*leaf.shape[:-1], len(theirs)) for name, leaf in of_drawn.items()}
        if here and expected == {name: leaf.shape for name, leaf in of_layer.items()}:
            group[last] = {
                name: _rearranged(leaf, of_drawn[name], here, there)
                for name, leaf in of_layer.items()
            }
    return result


def _rearranged(
    leaf: np.ndarray, drawn: np.ndarray, here: list[int], there: list[int]
) -> np.ndarray:
    result = np.array(drawn)
    result[..., here] = leaf[..., there]
    return result
