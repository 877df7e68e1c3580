"""The published state dict as our parameter tree, so that the two can be compared."""

import re

import jax
import numpy as np

from tests.fixtures.arrays import hwio


def _pair(body: str, norm: str = "1") -> tuple[str, str]:
    return f"{body}.0", f"{body}.{norm}"


def _context(body: str, first: int = 0) -> tuple[str, str]:
    """Inside the object-contextual block the BatchNorm is itself in a container."""
    body = f"ocr.ocr_distri_head.object_context_block.{body}"
    return f"{body}.{first}", f"{body}.{first + 1}.0"


# A ConvBN of ours (# is a number) -> the published convolution and BatchNorm.
_CONV_BN = {
    "trunk.stem.layers.#": lambda i: (f"backbone.conv{i + 1}", f"backbone.bn{i + 1}"),
    "trunk.stage1.layers.#.conv#": lambda i, k: (
        f"backbone.layer1.{i}.conv{k}",
        f"backbone.layer1.{i}.bn{k}",
    ),
    "trunk.stage1.layers.#.shortcut": lambda i: _pair(f"backbone.layer1.{i}.downsample"),
    "trunk.transitions.#.adapt.#": lambda t, i: _pair(f"backbone.transition{t + 1}.{i}"),
    "trunk.transitions.#.halve": lambda t: _pair(f"backbone.transition{t + 1}.{t + 1}.0"),
    "trunk.stages.#.#.branches.#.layers.#.conv#": lambda s, m, b, i, k: (
        f"backbone.stage{s + 2}.{m}.branches.{b}.{i}.conv{k}",
        f"backbone.stage{s + 2}.{m}.branches.{b}.{i}.bn{k}",
    ),
    "trunk.stages.#.#.exchange.paths.#_#": lambda s, m, i, j: _pair(
        f"backbone.stage{s + 2}.{m}.fuse_layers.{i}.{j}"
    ),
    "trunk.stages.#.#.exchange.paths.#_#.layers.#": lambda s, m, i, j, k: _pair(
        f"backbone.stage{s + 2}.{m}.fuse_layers.{i}.{j}.{k}"
    ),
    "ocr.features": lambda: _pair("ocr.conv3x3_ocr", norm="1.0"),
    "ocr.pixel.layers.#": lambda i: _context("f_pixel", 2 * i),
    "ocr.object.layers.#": lambda i: _context("f_object", 2 * i),
    "ocr.value": lambda: _context("f_down"),
    "ocr.up": lambda: _context("f_up"),
    "ocr.output": lambda: _pair("ocr.ocr_distri_head.conv_bn_dropout", norm="1.0"),
    "aux_head.hidden.0": lambda: _pair("ocr.aux_head", norm="1.0"),
    "attention_head.hidden.#": lambda i: (f"scale_attn.conv{i}", f"scale_attn.bn{i}"),
}
# A convolution of ours that no BatchNorm follows -> the published one.
_CONV = {
    "aux_head.output": "ocr.aux_head.2",
    "semantic_head.output": "ocr.cls_head",
    "attention_head.output": "scale_attn.conv2",
}
# The last part of a name.
_CONV_LEAF = {"kernel": "weight", "bias": "bias"}
_BN_LEAF = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}

_PATTERNS = [
    (re.compile(re.escape(layer).replace(r"\#", r"(\d+)") + r"\.(conv|bn)"), names)
    for layer, names in _CONV_BN.items()
]


def published_name(path: tuple) -> str:
    """The published name of the tensor at a key path of our parameters or running statistics.

    Raises:
      KeyError: the layer is in neither table.
    """
    *parts, leaf = (str(key.key) for key in path)
    layer = ".".join(parts)
    if layer in _CONV:
        return f"{_CONV[layer]}.{_CONV_LEAF[leaf]}"
    for pattern, names in _PATTERNS:
        if match := pattern.fullmatch(layer):
            *numbers, kind = match.groups()
            conv, bn = names(*map(int, numbers))
            return f"{conv}.{_CONV_LEAF[leaf]}" if kind == "conv" else f"{bn}.{_BN_LEAF[leaf]}"
    raise KeyError(layer)


def by_published_name(tree: dict) -> dict[str, np.ndarray]:
    """The leaves of our parameters or running statistics, in our layout."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {published_name(path): leaf for path, leaf in leaves}
    assert len(named) == len(leaves), "two of our tensors have one published name"
    return named


def to_our_layout(value: np.ndarray) -> np.ndarray:
    return hwio(value) if value.ndim == 4 else value


def load(tree: dict, state: dict[str, np.ndarray]) -> dict:
    """Our tree, filled from the published state dict."""

    def fill(path, leaf):
        value = to_our_layout(state[published_name(path)])
        assert value.shape == leaf.shape, (path, value.shape, leaf.shape)
        return value

    return jax.tree_util.tree_map_with_path(fill, tree)
