"""A data set as `check-data` found it: each split and each image in figures, and what is wrong."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from data import built
from data.checks import Finding
from data.label_spec import LabelSpec
from data.problems import Problems


@dataclasses.dataclass(frozen=True, slots=True)
class CheckedImage:
    """What is kept of an image.

    Attributes:
      split: in which it is.
      number: in the split, from 0.
      name: of the record.
      size: width and height; None if it is unreadable.
      light: mean and largest standard deviation of its colours, of 255; None with `size`.
      classes: how many have pixels; None without a readable label.
      ignored: the share of its pixels that are of no class; None with `classes`.
      faults: what is the matter with its files, in a few words each.
    """

    split: str
    number: int
    name: str
    size: tuple[int, int] | None
    light: tuple[float, float] | None
    classes: int | None
    ignored: float | None
    faults: tuple[str, ...]

    @property
    def is_visible(self) -> bool:
        """Whether the image or its label can be shown."""
        return self.size is not None or self.classes is not None


class Statistics:
    """Adds up what the images of a split hold.

    Args:
      label_spec: of the labels.
    """

    def __init__(self, label_spec: LabelSpec):
        self._label_spec = label_spec
        self.images = 0
        self.labels = 0
        self.sizes: collections.Counter[tuple[int, int]] = collections.Counter()
        self.pixels = np.zeros(len(label_spec.names), np.int64)
        self.images_with = np.zeros(len(label_spec.names), np.int64)
        self.ignored = 0

    def add(self, finding: Finding) -> None:
        """Takes one image."""
        self.images += 1
        if finding.size is not None:
            self.sizes[finding.size] += 1
        if finding.counts is None:
            return
        self.labels += 1
        pixels = built.class_pixels(finding.counts, self._label_spec)
        self.pixels += pixels
        self.images_with += pixels > 0
        self.ignored += int(finding.counts.sum() - pixels.sum())


@dataclasses.dataclass
class CheckedData:
    """What was found.

    Attributes:
      name: of the data set.
      directory: where it was read.
      label_spec: its classes.
      problems: what there is to say of its files.
      splits: split -> what its images hold.
      images: all of them.
      absent: a line for each split that lacks classes.
      unteaching: a line if the split that is trained on teaches nothing.
    """

    name: str
    directory: str
    label_spec: LabelSpec
    problems: Problems
    splits: dict[str, Statistics] = dataclasses.field(default_factory=dict)
    images: list[CheckedImage] = dataclasses.field(default_factory=list)
    absent: list[str] = dataclasses.field(default_factory=list)
    unteaching: Sequence[str] = ()

    @property
    def is_fine(self) -> bool:
        """Whether nothing is wrong, remarks aside."""
        return not self.problems and not self.unteaching

    def of_split(self, split: str) -> Statistics:
        """What the images of a split hold; of one that is new, nothing yet."""
        return self.splits.setdefault(split, Statistics(self.label_spec))

    def add(self, split: str, finding: Finding) -> None:
        """Takes what was found of an image."""
        self.of_split(split).add(finding)
        for problem in finding.problems:
            self.problems.add(*problem)
        self.images.append(_kept(split, finding, self.label_spec))


def _kept(split: str, finding: Finding, label_spec: LabelSpec) -> CheckedImage:
    classes = ignored = None
    if finding.counts is not None:
        pixels = built.class_pixels(finding.counts, label_spec)
        classes = int((pixels > 0).sum())
        ignored = 1 - float(pixels.sum() / finding.counts.sum())
    # What is frequent, such as a turn by EXIF, makes no image stand out.
    faults = dict.fromkeys(kind.fault for kind, _ in finding.problems if not kind.is_frequent)
    return CheckedImage(
        split,
        finding.number,
        finding.name,
        finding.size,
        finding.light,
        classes,
        ignored,
        tuple(faults),
    )
