"""What is to be known of built data sets before they are used, from what their check found."""

from collections.abc import Sequence

import numpy as np

from data import built
from data.builder import SegmentationBuilder
from hmsa_jax.runtime.progress import tell


def tell_remarks(builder: SegmentationBuilder) -> None:
    """Prints what is to be known of a data set: where it is from, which files are left out."""
    if builder.is_sourceless:
        found = builder.found
        tell(f"{builder.name}: as it was built from {found.source}, digest {found.digest}.")
    if builder.found.remarks:
        remarks = "; ".join(builder.found.remarks)
        tell(f"{builder.name}: {remarks} (`python main.py check-data` lists them).")


def check_classes(splits: Sequence[tuple[SegmentationBuilder, str]]) -> None:
    """Makes sure that splits of equal classes teach something, and tells which classes they lack.

    Args:
      splits: of each the builder, when it is built, and the name; a part counts as the whole.

    Raises:
      ValueError: all their labelled pixels are of one class, or none of a split is labelled.
    """
    label_specs = [builder.label_spec(builder.directory) for builder, _ in splits]
    pixels = [
        builder.found.class_pixels(split, label_spec)
        for (builder, split), label_spec in zip(splits, label_specs, strict=True)
    ]
    for (builder, split), counts in zip(splits, pixels, strict=True):
        if len(splits) > 1 and counts is not None and not counts.any():
            raise ValueError(
                f"{builder.name}/{split} of {builder.directory} has no labelled pixel, so that"
                " nothing is learnt of it; leave it out, or label it (with `autolabel` by a lower"
                " --threshold)"
            )
    counted = [counts for counts in pixels if counts is not None]
    if len(counted) < len(pixels):  # a painted one, which shows all
        return
    total = np.sum(counted, axis=0)
    names = " and ".join(f"{builder.name}/{split}" for builder, split in splits)
    if why := built.why_nothing_is_learnt(total, label_specs[0]):
        raise ValueError(
            f"{names} cannot be trained on: {why}. `python main.py check-data` counts the pixels."
        )
    if absent := built.absent(total, label_specs[0]):
        tell(f"{names} has no pixel of {', '.join(absent)}.")
