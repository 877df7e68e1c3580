"""Which images of a data set are odd, and which ones are worth a look."""

import collections
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from hmsa_jax.report.checked_data import CheckedData, CheckedImage

_USUAL = 0.9  # of the images have a size that makes all others unusual
_TIMES = 4  # as large as the median, or the part of it, from which on an area is unusual
_MOSTLY = 0.5  # of the pixels
_DARK, _BRIGHT, _FLAT = 20, 235, 6  # of 255


@dataclasses.dataclass(frozen=True)
class Oddity:
    """Something odd, and the images that have it.

    Attributes:
      what: is odd.
      rule: by which they are found; '' if something is wrong with their files.
      images: at least one.
    """

    what: str
    rule: str
    images: Sequence[CheckedImage]


def find(data: CheckedData) -> list[Oddity]:
    """What is wrong with files first, then what is odd, and among each what is rare first."""
    faults = dict.fromkeys(fault for image in data.images for fault in image.faults)
    wrong = [
        Oddity(fault, "", [image for image in data.images if fault in image.faults])
        for fault in faults
    ]
    odd = [
        Oddity(what, rule, images)
        for what, (rule, is_so) in _rules(data).items()
        if (images := [image for image in data.images if is_so(image)])
    ]
    return [oddity for kind in (wrong, odd) for oddity in sorted(kind, key=lambda o: len(o.images))]


def choose(
    images: Sequence[CheckedImage], oddities: Sequence[Oddity], count: int
) -> list[tuple[CheckedImage, list[str]]]:
    """The images to be shown, each with what is odd about it.

    Args:
      images: all of them.
      oddities: from `find`.
      count: how many images, at most.

    Returns:
      First odd images, in the order of the oddities, and then an even sample of the others of each
      split. Odd ones take at most half of the places while there are others.
    """
    why: dict[CheckedImage, list[str]] = {}
    for oddity in oddities:
        for image in oddity.images:
            why.setdefault(image, []).append(oddity.what)
    odd = [image for image in why if image.is_visible]
    others = [image for image in images if image.is_visible and image not in why]
    odd = odd[: max(count - len(others), -(-count // 2))]
    sample = _sample(others, count - len(odd))
    return [(image, why.get(image, [])) for image in (*odd, *sample)]


def _rules(data: CheckedData) -> dict[str, tuple[str, Callable[[CheckedImage], bool]]]:
    """What is odd -> by which rule, in words and as a test."""
    labelled = {split for split, found in data.splits.items() if found.pixels.any()}
    is_unusual = _unusual([image.size for image in data.images if image.size is not None])

    def mean(image: CheckedImage, otherwise: float) -> float:
        return otherwise if image.light is None else image.light[0]

    return {
        "of an unusual size": (
            f"another one than {100 * _USUAL:g} % of the images have; or an area of at least"
            f" {_TIMES} times the median, or at most 1/{_TIMES} of it",
            lambda image: image.size is not None and is_unusual(image.size),
        ),
        "without a labelled pixel": (
            "all pixels are ignored, in a split where not all are",
            lambda image: image.classes == 0 and image.split in labelled,
        ),
        "of a single class": (
            "all labelled pixels are of one class",
            lambda image: image.classes == 1,
        ),
        "mostly ignored": (
            f"more than {100 * _MOSTLY:g} % of the pixels are ignored, but not all",
            lambda image: bool(image.classes) and (image.ignored or 0) > _MOSTLY,
        ),
        "dark": (
            f"the mean of the colours is below {_DARK} of 255",
            lambda image: mean(image, _DARK) < _DARK,
        ),
        "bright": (
            f"the mean of the colours is above {_BRIGHT} of 255",
            lambda image: mean(image, _BRIGHT) > _BRIGHT,
        ),
        "nearly of one colour": (
            f"red, green and blue have standard deviations below {_FLAT} of 255",
            lambda image: image.light is not None and image.light[1] < _FLAT,
        ),
    }


def _unusual(sizes: Sequence[tuple[int, int]]) -> Callable[[tuple[int, int]], bool]:
    """A test of whether a size is unusual among all."""
    if not sizes:
        return lambda size: False
    ((frequent, times),) = collections.Counter(sizes).most_common(1)
    median = float(np.median([width * height for width, height in sizes]))

    def is_unusual(size: tuple[int, int]) -> bool:
        if times >= _USUAL * len(sizes):
            return size != frequent
        area = size[0] * size[1]
        return area >= _TIMES * median or _TIMES * area <= median

    return is_unusual


def _sample(images: Sequence[CheckedImage], count: int) -> list[CheckedImage]:
    """As many images of each split, as far as it has them, evenly from its beginning to its end."""
    by_split: dict[str, list[CheckedImage]] = {}
    for image in images:
        by_split.setdefault(image.split, []).append(image)
    chosen: dict[str, list[CheckedImage]] = {}
    left = count
    for number, split in enumerate(sorted(by_split, key=lambda split: len(by_split[split]))):
        of_split = sorted(by_split[split], key=lambda image: image.number)
        share = min(len(of_split), left // (len(by_split) - number))
        left -= share
        chosen[split] = [of_split[(2 * i + 1) * len(of_split) // (2 * share)] for i in range(share)]
    return [image for split in by_split for image in chosen[split]]
