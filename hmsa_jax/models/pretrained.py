"""Weights from elsewhere: PyTorch's names and layout, and networks that match in part.

What the tensors are called is in `published_names`.
"""

import collections
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmsa_jax.models.multiscale import Architecture
from hmsa_jax.models.published_names import COUNTER, namer, with_published_names
from hmsa_jax.models.trunks import TRUNKS

_LISTED = 30  # names of one kind that a message lists one by one
_TEMPLATES = 100  # that it lists of names with other numbers


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How two sets of tensors fit.

    Attributes:
      taken: names of the tensors that were taken over.
      missing: names that the network has and the source has not.
      unused: names that the source has and the network has not.
      mismatched: `name: shape there, shape here` of tensors that have one name and two shapes, or
        hold no floating-point numbers.
      folded: names of biases that the running mean of a BatchNorm took over.
    """

    taken: list[str]
    missing: list[str]
    unused: list[str]
    mismatched: list[str]
    folded: list[str] = dataclasses.field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every tensor of either side has its counterpart."""
        return not (self.missing or self.unused or self.mismatched)

    def describe(self) -> str:
        """A line for each kind that there is, with the names; many alike are one with a count."""
        kinds = {
            "of another shape or type": _grouped(self.mismatched),
            "in the network only": _grouped(self.missing),
            "in the source only": _grouped(self.unused),
        }
        counts = len(self.mismatched), len(self.missing), len(self.unused)
        return "\n".join(
            f"{count} {kind}: {', '.join(names)}"
            for count, (kind, names) in zip(counts, kinds.items(), strict=True)
            if count
        )


def load(
    tensors: Mapping[str, np.ndarray], params: dict, batch_stats: dict, architecture: Architecture
) -> tuple[dict, dict, Coverage]:
    """Fills the network from a state dict of PyTorch or PaddlePaddle.

    Known are the names of the published code, with or without `module.`, those of OCR's authors,
    PaddleSeg and mmsegmentation, of HRNet trained on ImageNet and of torchvision's ResNet, which
    are also timm's; classifiers are left out.

    A bias between a convolution and a BatchNorm, where the network has none, goes into the running
    mean: `y + bias - mean` is `y - (mean - bias)`. In training the mean of the batch takes the bias
    away, so that it changes nothing there and its gradient is 0.

    Args:
      tensors: name -> array, convolutions `[out, in, rows, columns]`.
      params: from `multiscale.initialize`.
      batch_stats: from `multiscale.initialize`.
      architecture: that they were drawn for.

    Returns:
      New params and batch_stats, float32, in which the tensors that fit are taken over, and how
      they fit.

    Raises:
      ValueError: two tensors stand for one.
    """
    tensors = with_published_names(tensors, TRUNKS.get(architecture.trunk))
    name_of = _namer(architecture)
    tree = (params, batch_stats)
    names = {_path(path): name_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}
    folded = _fold_biases(tensors, names)
    (params, batch_stats), coverage = _fill(
        tree, tensors, name_of, _to_our_layout, _to_published_layout
    )
    return params, batch_stats, dataclasses.replace(coverage, folded=folded)


def export(
    params: dict, batch_stats: dict, architecture: Architecture, *, updates: int
) -> dict[str, np.ndarray]:
    """The network as a state dict with the published names.

    Args:
      params: of the network.
      batch_stats: of the network.
      architecture: of the network.
      updates: how often the running statistics were updated, which PyTorch keeps beside them.

    Returns:
      name -> float32 array, convolutions `[out, in, rows, columns]`, and int64 counters.
    """
    name_of = _namer(architecture)
    leaves = jax.tree_util.tree_leaves_with_path((params, batch_stats))
    tensors = {name_of(path): _to_published_layout(np.asarray(leaf)) for path, leaf in leaves}
    for name in list(tensors):
        if name.endswith(".running_mean"):
            tensors[name.removesuffix("running_mean") + COUNTER] = np.asarray(updates, np.int64)
    return dict(sorted(tensors.items()))


def take_matching(ours: dict, theirs: dict) -> tuple[Any, Coverage]:
    """Our tree with every leaf of theirs that has the same path and shape.

    Args:
      ours: nested dict of arrays.
      theirs: another one.

    Returns:
      The new tree and how the two fit.
    """
    named = {_path(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(theirs)}
    return _fill(ours, named, _path, np.asarray, np.asarray)


def _fold_biases(tensors: dict[str, np.ndarray], names: Mapping[str, str]) -> list[str]:
    """Takes biases that the network has not off the running means after them; their names.

    Args:
      tensors: published name -> array; it changes.
      names: of the network: path of a tensor -> published name.
    """
    known, folded = set(names.values()), []
    for path, name in names.items():
        layer = path.removesuffix(".bn.mean")
        if layer == path:
            continue
        bias = names[f"{layer}.conv.kernel"].removesuffix("weight") + "bias"
        if bias in known or bias not in tensors or name not in tensors:
            continue
        arrays = tensors[name], tensors[bias]
        is_real = all(jnp.issubdtype(array.dtype, jnp.floating) for array in arrays)
        if is_real and arrays[0].shape == arrays[1].shape:
            mean, moved = (array.astype(np.float64) for array in arrays)
            tensors[name] = mean - moved
            del tensors[bias]
            folded.append(bias)
    return folded


def _fill(
    tree: Any,
    tensors: Mapping[str, Any],
    name_of: Callable,
    to_ours: Callable,
    to_theirs: Callable,
) -> tuple[dict, Coverage]:
    """Every leaf from the tensor of its name, if that has its shape; and how the two fit."""
    taken, missing, mismatched = [], [], []

    def fill(path, leaf):
        name = name_of(path)
        if name not in tensors:
            missing.append(name)
            return leaf
        value = to_ours(tensors[name])
        if not jnp.issubdtype(value.dtype, jnp.floating):
            mismatched.append(f"{name}: {value.dtype} in the source, {leaf.dtype} in the network")
            return leaf
        if value.shape != leaf.shape:
            here, there = list(to_theirs(leaf).shape), list(tensors[name].shape)
            mismatched.append(f"{name}: {there} in the source, {here} in the network")
            return leaf
        taken.append(name)
        return value.astype(leaf.dtype)

    filled = jax.tree_util.tree_map_with_path(fill, tree)
    known = {*taken, *missing, *(line.partition(":")[0] for line in mismatched)}
    unused = [name for name in tensors if name not in known]
    return filled, Coverage(taken, missing, unused, mismatched)


def _grouped(names: list[str]) -> list[str]:
    """Many names as templates in which # is any number, each with how many names it stands for.

    What follows a colon, such as shapes, is left out then.
    """
    if len(names) <= _LISTED:
        return names
    templates = collections.Counter(re.sub(r":.*", "", re.sub(r"\d+", "#", name)) for name in names)
    texts = [f"{template} ({count}x)" for template, count in templates.most_common(_TEMPLATES)]
    left = len(templates) - len(texts)
    return [*texts, f"and names of {left} more kinds"] if left else texts


def _path(path: tuple) -> str:
    return ".".join(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey))


def _to_our_layout(value: np.ndarray) -> np.ndarray:
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def _to_published_layout(value: np.ndarray) -> np.ndarray:
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value


def _namer(architecture: Architecture) -> Callable[[tuple], str]:
    """Key path of one of our tensors -> its published name."""
    name_of = namer(TRUNKS.get(architecture.trunk), architecture.semantic_head)
    return lambda path: name_of(_path(path))
