"""How well predicted boundaries follow the labelled ones: boundary IoU and boundary F-score.

In both a class that a pixel has makes the mask of that class, of the labels and of the prediction.
An ignored pixel belongs to no mask, whatever is predicted there. All counts are summed over images.

*Boundary IoU* (B. Cheng, R. Girshick, P. Dollar, A. C. Berg, A. Kirillov: Boundary IoU, CVPR 2021,
section 4; the numbers of github.com/bowenc0221/boundary-iou-api) compares boundary regions: of each
mask the pixels no further than d from a pixel outside of it, by the Chebyshev distance, where
d = max(1, round(0.02 x diagonal of the image)). What is beyond the picture's edge is outside of
every mask, and so is an ignored pixel: both make a boundary.

*Boundary F-score* (G. Csurka, D. Larlus, F. Perronnin: What is a good evaluation measure for
semantic segmentation?, BMVC 2013) compares contours: of each mask the pixels that have a neighbour
(one of four) of another class. Precision is the fraction of the predicted contour that is no
further than 3 or 5 pixels from the labelled contour of the same class, by the Euclidean distance;
recall is the fraction of the labelled contour so near to the predicted one. Here neither the
picture's edge nor an ignored pixel makes a contour: where an object ends there is not known. That
paper takes the mean over images of the scores of each; here the pixels of all images count equally,
as in IoU.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data.label_spec import IGNORE
from hmsa_jax.metrics import confusion, tally
from hmsa_jax.metrics.metric import Figures, Metric, Prediction, Truth
from hmsa_jax.models.layers.materialization import materialize

TOLERANCES = (3, 5)  # pixels
_BITS = 32


def counter(truth: Truth) -> Callable[[Prediction], dict[str, jax.Array]]:
    """Counts the pixels of boundary regions and contours.

    Returns:
      A function to int32 `[B, C]` each: `label_region`, `predicted_region` and `both_regions`, and
      `label_contour` and `predicted_contour` with those of them that are near to the other one,
      `label_contour_3px` and so on.
    """
    valid = truth.labels < truth.classes
    distance, longest = boundary_distance(truth.size, truth.labels.shape[1:])
    labels = jnp.where(valid, truth.labels, IGNORE)
    label_region = region(labels, distance, longest)
    label_contour = contour(labels)
    near_labels = dilated(label_contour, labels, truth.classes)

    def count(prediction: Prediction) -> dict[str, jax.Array]:
        predicted = jnp.where(valid, prediction.classes, IGNORE)
        predicted_region = region(predicted, distance, longest)
        predicted_contour = contour(predicted)
        near_predicted = dilated(predicted_contour, predicted, truth.classes)
        of_labels = {
            "label_region": label_region,
            "both_regions": label_region & predicted_region & (labels == predicted),
            "label_contour": label_contour,
        }
        of_predicted = {
            "predicted_region": predicted_region,
            "predicted_contour": predicted_contour,
        }
        for tolerance in TOLERANCES:
            near = label_contour & _holds(near_predicted[tolerance], labels)
            of_labels[f"label_contour_{tolerance}px"] = near
            near = predicted_contour & _holds(near_labels[tolerance], predicted)
            of_predicted[f"predicted_contour_{tolerance}px"] = near
        return _by_class(labels, of_labels, truth.classes) | _by_class(
            predicted, of_predicted, truth.classes
        )

    return count


def boundary_distance(size: jax.Array, largest: Sequence[int]) -> tuple[jax.Array, int]:
    """max(1, round(0.02 x diagonal)), in integers: float32 would round some diagonals otherwise.

    Args:
      size: int32 `[B, 2]`, rows and columns below 46341.
      largest: the most rows and columns that there can be.

    Returns:
      int32 `[B]`, and what none of them exceeds.

    >>> distance, longest = boundary_distance(jnp.array([[1024, 2048], [60, 45]]), (1024, 2048))
    >>> distance.tolist(), longest
    ([46, 2], 46)
    """
    # 0.02 x diagonal is at least k - 1/2; Python rounds exactly k - 1/2 to the even neighbour.
    longest = max(round(math.hypot(*largest) / 50), 1)
    k = np.arange(1, longest + 1, dtype=np.uint32)
    least = (50 * k - 25) ** 2 + k % 2
    squared = (size.astype(jnp.uint32) ** 2).sum(-1)
    return jnp.maximum((squared[:, None] >= least).sum(-1, dtype=jnp.int32), 1), longest


def region(classes: jax.Array, distance: jax.Array, longest: int) -> jax.Array:
    """The boundary regions of all masks: of each pixel whether it is in that of its class.

    It is unless the square round the pixel is of one class. A row of the square is if the run of
    equal pixels goes on to its ends, and then the rows are compared in the same way.

    Args:
      classes: uint8 `[B, H, W]`, `IGNORE` where a pixel is in no mask.
      distance: from the middle of the square to its sides, int32 `[B]`.
      longest: what no distance exceeds.

    Returns:
      bool `[B, H, W]`.
    """
    inside = classes != IGNORE
    for axis in (2, 1):
        runs = jnp.where(inside, classes, IGNORE)
        inside &= _runs_on(runs, distance, axis, longest)
    return (classes != IGNORE) & ~inside


def contour(classes: jax.Array) -> jax.Array:
    """The contours of all masks: of each pixel whether it has a neighbour in another mask.

    Args:
      classes: uint8 `[B, H, W]`, `IGNORE` where a pixel is in no mask.

    Returns:
      bool `[B, H, W]`.
    """
    found = jnp.zeros(classes.shape, bool)
    padded = jnp.pad(classes, ((0, 0), (1, 1), (1, 1)), constant_values=IGNORE)
    for neighbour in (
        padded[:, :-2, 1:-1],
        padded[:, 2:, 1:-1],
        padded[:, 1:-1, :-2],
        padded[:, 1:-1, 2:],
    ):
        found |= (neighbour != classes) & (neighbour != IGNORE)
    return found & (classes != IGNORE)


def dilated(contours: jax.Array, classes: jax.Array, number: int) -> dict[int, jax.Array]:
    """Which classes have a contour near each pixel. A class is a bit, so that 32 are done at once.

    Args:
      contours: from `contour`.
      classes: uint8 `[B, H, W]`.
      number: of classes.

    Returns:
      tolerance -> uint32 `[words, B, H, W]`; bit b of word w is for class 32 w + b.
    """

    def of_word(word):
        bit = jnp.uint32(1) << (classes % _BITS).astype(jnp.uint32)
        chosen = contours & (classes // _BITS == word)
        return _in_discs(jnp.where(chosen, bit, jnp.uint32(0)))

    return jax.lax.map(of_word, jnp.arange(-(-number // _BITS), dtype=jnp.uint8))


def _in_discs(bits: jax.Array) -> dict[int, jax.Array]:
    """All bits within each tolerance of a pixel: along the row, then the rows of the disc."""
    rows, columns = bits.shape[1:]
    reach = max(TOLERANCES)
    bits = jnp.pad(bits, ((0, 0), (reach, reach), (reach, reach)))
    along = [bits[:, :, reach : reach + columns]]  # along[k]: up to k columns to either side
    for k in range(1, reach + 1):
        left, right = (bits[:, :, reach + s : reach + s + columns] for s in (-k, k))
        along.append(along[-1] | left | right)
    along = materialize(along)
    found = {}
    for tolerance in TOLERANCES:
        found[tolerance] = jnp.zeros((len(bits), rows, columns), jnp.uint32)
        for dy in range(-tolerance, tolerance + 1):
            row = along[math.isqrt(tolerance**2 - dy**2)]
            found[tolerance] |= row[:, reach + dy : reach + dy + rows]
    return found


def _holds(words: jax.Array, classes: jax.Array) -> jax.Array:
    """Whether the bit of a pixel's class is set in its words, bool `[B, H, W]`."""
    numbers = jnp.arange(len(words), dtype=jnp.uint8)[:, None, None, None]
    bits = (words >> (classes % _BITS).astype(jnp.uint32)) & 1
    return ((bits == 1) & (classes // _BITS == numbers)).any(0)


def _runs_on(values: jax.Array, distance: jax.Array, axis: int, longest: int) -> jax.Array:
    """Whether equal values go on for `distance` pixels in both directions of an axis.

    How far they go is counted by doubling: who has 2^k equal ones after it adds what the last of
    them has after it.

    Args:
      values: `[B, H, W]`.
      distance: int32 `[B]`.
      axis: of H or W.
      longest: what no distance exceeds.

    Returns:
      bool `[B, H, W]`.
    """
    length = values.shape[axis]
    doublings = (longest - 1).bit_length()
    dtype = jnp.uint8 if doublings < 8 else jnp.uint16  # holds 2 ^ doublings, as far as is counted
    same = jnp.equal(
        jax.lax.slice_in_dim(values, 1, length, axis=axis),
        jax.lax.slice_in_dim(values, 0, length - 1, axis=axis),
    )
    reach = 2**doublings
    before = _pad(same.astype(dtype), axis, 1, 0)
    after = _pad(same.astype(dtype), axis, 0, 1)

    def double(k, counts):
        before, after = counts
        step = jnp.left_shift(1, k)
        padded = _pad(before, axis, reach, 0)
        further = jax.lax.dynamic_slice_in_dim(padded, reach - step, length, axis)
        before += jnp.where(before == step.astype(dtype), further, 0)
        padded = _pad(after, axis, 0, reach)
        further = jax.lax.dynamic_slice_in_dim(padded, step, length, axis)
        after += jnp.where(after == step.astype(dtype), further, 0)
        return before, after

    before, after = jax.lax.fori_loop(0, doublings, double, (before, after))
    least = distance[:, None, None].astype(dtype)
    return (before >= least) & (after >= least)


def _pad(values: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Adds zeros along an axis."""
    widths = [(before, after) if i == axis else (0, 0) for i in range(values.ndim)]
    return jnp.pad(values, widths)


def _by_class(
    classes: jax.Array, masks: Mapping[str, jax.Array], number: int
) -> dict[str, jax.Array]:
    counts = tally.counts(classes, list(masks.values()), number)
    return {name: counts[..., i] for i, name in enumerate(masks)}


def boundary_iou(counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Intersection over union of the boundary regions of each class; NaN where there are none.

    Args:
      counts: as of `counter`, `[C]` each.

    Returns:
      float64 `[C]`.
    """
    both = counts["both_regions"]
    return confusion.fraction(both, counts["label_region"] + counts["predicted_region"] - both)


def boundary_f_score(counts: Mapping[str, np.ndarray], tolerance: int) -> np.ndarray:
    """The harmonic mean of the precision and the recall of the contour of each class.

    It is 0 for a class that has one of the contours, and NaN for one that has neither. Arguments
    and result as for `boundary_iou`.
    """
    of_predicted, of_labels = counts["predicted_contour"], counts["label_contour"]
    precise = confusion.fraction(counts[f"predicted_contour_{tolerance}px"], of_predicted)
    recalled = confusion.fraction(counts[f"label_contour_{tolerance}px"], of_labels)
    precise, recalled = np.nan_to_num(precise), np.nan_to_num(recalled)
    score = np.zeros(np.shape(precise))
    np.divide(2 * precise * recalled, precise + recalled, out=score, where=precise + recalled > 0)
    return np.where((of_predicted + of_labels) > 0, score, np.nan)


def figures(counts: Mapping[str, np.ndarray]) -> Figures:
    """Boundary IoU and F-scores; counts as of `counter`, `[C]` each."""
    by_class = {"boundary_iou": boundary_iou(counts)} | {
        f"boundary_f_score_{tolerance}px": boundary_f_score(counts, tolerance)
        for tolerance in TOLERANCES
    }
    overall = {f"mean_{name}": confusion.mean(scores) for name, scores in by_class.items()}
    return Figures(overall, by_class)


METRIC = Metric(
    counter,
    figures,
    titles={"mean_boundary_iou": "boundary IoU"}
    | {f"mean_boundary_f_score_{t}px": f"boundary F, {t} px" for t in TOLERANCES},
)
