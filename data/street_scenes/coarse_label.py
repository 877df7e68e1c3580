"""Coarse labels made of fine ones: a few corners an object, wide margins, thin things left out.

So are the coarse labels of Cityscapes drawn, whose annotators had a few minutes an image (Cordts et
al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, section 2.2): "the
sole constraint that each must only include pixels belonging to a single object class".
"""

import cv2
import numpy as np

from data.label_spec import IGNORE

# Raise it with every change of what is labelled: data sets built before are then built anew.
VERSION = 1

# Half the width of an object in pixels, from which on it is drawn with a probability.
_DRAWN = ((0.0, 0.1), (2.5, 0.6), (8.0, 1.0))
_MARGIN_SHARE = (0.2, 0.4)  # of half the width
_MARGIN = (1.6, 6.0)  # pixels
_CORNER = 0.75  # of the margin: how far an outline may leave the object's shape
_SMALLEST = 12  # pixels of a part that is worth an outline


def coarse_label(fine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What somebody in a hurry labels of a scene; no pixel is labelled wrong.

    Args:
      fine: train ids, 255 where there is none, uint8 `[H, W]`.
      rng: decides what is left out and how wide the margins are.

    Returns:
      uint8 `[H, W]`, equal to `fine` or 255.
    """
    # What leaves the image is outlined beyond its edge, where it needs no margin.
    beyond = int(_MARGIN[1]) + 1
    fine = np.pad(fine, beyond, "edge")
    coarse = np.full_like(fine, IGNORE)
    for train_id in np.unique(fine[fine != IGNORE]):
        count, objects, boxes, _ = cv2.connectedComponentsWithStats(
            (fine == train_id).astype(np.uint8), connectivity=4
        )
        for number in range(1, count):
            left, top, width, height = boxes[number, : cv2.CC_STAT_AREA]
            window = slice(top, top + height), slice(left, left + width)
            outlined = _outlined(objects[window] == number, rng)
            coarse[window][outlined] = train_id
    return coarse[beyond:-beyond, beyond:-beyond]


def _outlined(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pixels of an object, bool `[h, w]`, that the polygons drawn into it hold."""
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    half_width = float(depth.max())
    probability = max(p for least, p in _DRAWN if half_width >= least)
    chance, share = rng.random(), rng.uniform(*_MARGIN_SHARE)
    if chance >= probability:
        return np.zeros_like(mask)
    margin = float(np.clip(share * half_width, *_MARGIN))
    drawn = np.zeros(mask.shape, np.uint8)
    inner = (depth > margin).astype(np.uint8)
    outlines, tree = cv2.findContours(inner, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Those of holes come after those around them.
    for outline, (_, _, _, around) in zip(outlines, () if tree is None else tree[0], strict=True):
        polygon = cv2.approxPolyDP(outline, _CORNER * margin, closed=True)
        is_hole = around >= 0
        if is_hole or cv2.contourArea(polygon) >= _SMALLEST:
            cv2.fillPoly(drawn, [polygon], 0 if is_hole else 1)
    return mask & (drawn > 0)
