"""Bilinear resizing and hierarchical fusion once more, in plain float64 numpy."""

import math

import numpy as np


def interpolation_matrix(source: int, target: int) -> np.ndarray:
    """`[target, source]`: hat functions at half-pixel centres, clamped to the outermost samples."""
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    centre = np.clip(centre, 0, source - 1)
    return np.maximum(1 - np.abs(centre[:, None] - np.arange(source)), 0)


def resize(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows = interpolation_matrix(x.shape[1], size[0])
    columns = interpolation_matrix(x.shape[2], size[1])
    return np.einsum("yh,xw,bhwc->byxc", rows, columns, np.asarray(x, np.float64), optimize=True)


def resize_transposed(y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The adjoint of resizing from `size` to the size of `y`."""
    rows = interpolation_matrix(size[0], y.shape[1])
    columns = interpolation_matrix(size[1], y.shape[2])
    return np.einsum("yh,xw,byxc->bhwc", rows, columns, np.asarray(y, np.float64), optimize=True)


def fuse_at_features(logits, attention, size):
    """Paper, equation 1: the products are taken at the resolution of the heads."""
    highest, *lower = sorted(logits, reverse=True)
    fused = resize(logits[highest], size)
    for r in lower:
        weighted = resize(attention[r] * logits[r].astype(np.float64), size)
        fused = weighted + (1 - resize(attention[r], size)) * fused
    return fused


def fuse_at_image(logits, attention, size):
    """The published code: heads are first enlarged to the full size of their scaled image."""
    full = {r: (math.floor(size[0] * r), math.floor(size[1] * r)) for r in logits}
    p = {r: resize(logits[r], full[r]) for r in logits}
    a = {r: resize(attention[r], full[r]) for r in logits}
    highest, *lower = sorted(logits, reverse=True)
    fused = p[highest]
    for r in lower:
        if r >= 1:
            fused = a[r] * p[r] + (1 - a[r]) * resize(fused, full[r])
        else:
            fused = resize(a[r] * p[r], size) + (1 - resize(a[r], size)) * fused
    return fused


FUSE = {"features": fuse_at_features, "image": fuse_at_image}


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over pixels whose label is a class."""
    valid = labels < logits.shape[-1]
    z = np.asarray(logits, np.float64)[valid]
    of_label = z[np.arange(len(z)), labels[valid]]
    return float(np.mean(np.log(np.exp(z).sum(-1)) - of_label))
