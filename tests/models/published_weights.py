"""The published state dict as our parameter tree, so that fixtures can be compared with."""

import re

import jax
import numpy as np

# Our path -> the published name, tried in order.
_NAMES = (
    (r"trunk\.stem\.layers\.0\.conv\.", r"backbone.conv1."),
    (r"trunk\.stem\.layers\.0\.bn\.", r"backbone.bn1."),
    (r"trunk\.stem\.layers\.1\.conv\.", r"backbone.conv2."),
    (r"trunk\.stem\.layers\.1\.bn\.", r"backbone.bn2."),
    (r"trunk\.stage1\.layers\.(\d+)\.shortcut\.", r"backbone.layer1.\1.downsample."),
    (r"trunk\.stage1\.layers\.(\d+)\.conv(\d)\.conv\.", r"backbone.layer1.\1.conv\2."),
    (r"trunk\.stage1\.layers\.(\d+)\.conv(\d)\.bn\.", r"backbone.layer1.\1.bn\2."),
    (r"ocr\.features\.", r"ocr.conv3x3_ocr."),
    (r"ocr\.pixel\.layers\.", r"ocr.ocr_distri_head.object_context_block.f_pixel."),
    (r"ocr\.object\.layers\.", r"ocr.ocr_distri_head.object_context_block.f_object."),
    (r"ocr\.value\.", r"ocr.ocr_distri_head.object_context_block.f_down."),
    (r"ocr\.up\.", r"ocr.ocr_distri_head.object_context_block.f_up."),
    (r"ocr\.output\.", r"ocr.ocr_distri_head.conv_bn_dropout."),
    (r"aux_head\.hidden\.0\.", r"ocr.aux_head."),
    (r"aux_head\.output\.", r"ocr.aux_head.2."),
    (r"semantic_head\.output\.", r"ocr.cls_head."),
    (r"attention_head\.hidden\.(\d)\.conv\.", r"scale_attn.conv\1."),
    (r"attention_head\.hidden\.(\d)\.bn\.", r"scale_attn.bn\1."),
    (r"attention_head\.output\.", r"scale_attn.conv2."),
)
_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


def published_name(path: str) -> str:
    """The name of one of our tensors in the published state dict."""
    name = path
    name = re.sub(r"^trunk\.stages\.(\d+)\.", lambda m: f"backbone.stage{int(m[1]) + 2}.", name)
    name = re.sub(r"branches\.(\d+)\.layers\.(\d+)\.conv(\d)\.conv", r"branches.\1.\2.conv\3", name)
    name = re.sub(r"branches\.(\d+)\.layers\.(\d+)\.conv(\d)\.bn", r"branches.\1.\2.bn\3", name)
    name = re.sub(r"exchange\.paths\.(\d)_(\d)\.(layers\.)?", r"fuse_layers.\1.\2.", name)
    name = re.sub(
        r"^trunk\.transitions\.(\d)\.adapt\.(\d)\.",
        lambda m: f"backbone.transition{int(m[1]) + 1}.{m[2]}.",
        name,
    )
    name = re.sub(
        r"^trunk\.transitions\.(\d)\.halve\.",
        lambda m: f"backbone.transition{int(m[1]) + 1}.{int(m[1]) + 1}.0.",
        name,
    )
    for ours, theirs in _NAMES:
        name = re.sub("^" + ours, theirs, name)
    body, leaf = name.rsplit(".", 1)
    if "f_pixel" in body or "f_object" in body:  # two layers: convolutions at 0 and 2
        body = re.sub(
            r"(f_\w+)\.(\d)\.(conv|bn)$",
            lambda m: f"{m[1]}.{2 * int(m[2])}.{m[3]}",
            body,
        )
        body = re.sub(r"\.(\d)\.bn$", lambda m: f".{int(m[1]) + 1}.0", body)
        body = re.sub(r"\.conv$", "", body)
    nested = "ocr." in body and not body.endswith(("aux_head.2", "cls_head"))
    body = re.sub(r"\.bn$", ".1.0" if nested else ".1", body)
    body = re.sub(r"\.conv$", ".0", body)
    return f"{body}.{_LEAVES.get(leaf, leaf)}"


def dotted(path) -> str:
    return ".".join(str(key.key) for key in path)


def load(tree, state: dict[str, np.ndarray]):
    """Our tree, filled from the published state dict (OIHW -> HWIO); every name is used."""

    def fill(path, leaf):
        value = np.asarray(state[published_name(dotted(path))])
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        assert value.shape == leaf.shape, (path, value.shape, leaf.shape)
        return value

    return jax.tree_util.tree_map_with_path(fill, tree)
