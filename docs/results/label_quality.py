"""How right labels of painted streets are: those of a teacher, or the coarse ones.

    python docs/results/label_quality.py LABELS   # of `autolabel --images=street_scenes_coarse/...`
    python docs/results/label_quality.py coarse [IMAGES]

A scene is painted again to see what it shows in full. Of each class: its share of the pixels, how
many of them are labelled at all, and how many of those with its label show it; percent.
"""

import pathlib
import sys

import cv2
import numpy as np

from data import registry
from data.label_spec import IGNORE
from data.street_scenes import classes, coarse_set
from hmsa_jax.config import schema
from hmsa_jax.input import decoding

NAMES = classes.NAMES


def of_teacher(directory: str):
    """Ids and labels `[H, W]` of a directory that `autolabel` has filled."""
    for path in sorted(pathlib.Path(directory, "masks", "train").rglob("*.png")):
        yield path.stem, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def of_coarse_set(images: int):
    """Ids and coarse labels of the first images of the set."""
    cache = schema.base_config().data.cache_dir
    builder = registry.prepare("street_scenes_coarse", None, cache)
    source = registry.open_source(builder, f"train[:{images}]")
    for i in range(len(source)):
        yield source[i]["id"], decoding.decode(source[i])[1]


def main(what: str, images: str = "400") -> None:
    counts = np.zeros((len(NAMES), len(NAMES) + 1), np.int64)  # shown, labelled; the last: not
    number = 0
    for name, label in of_coarse_set(int(images)) if what == "coarse" else of_teacher(what):
        shown = coarse_set.fine_label(name)
        known = shown != IGNORE
        labelled = np.minimum(label[known], len(NAMES))
        np.add.at(counts, (shown[known], labelled), 1)
        number += 1
    right, of_label = np.diagonal(counts), counts[:, :-1].sum(0)
    labelled = counts[:, :-1].sum(1)
    print(f"| {number} images | share | labelled | right |\n|---|---:|---:|---:|")
    for i, name in enumerate(NAMES):
        is_right = f"{right[i] / of_label[i]:.1%}" if of_label[i] else "-"
        share, part = counts[i].sum() / counts.sum(), labelled[i] / max(counts[i].sum(), 1)
        print(f"| {name} | {share:.1%} | {part:.1%} | {is_right} |")
    print(f"| all | | {labelled.sum() / counts.sum():.1%} | {right.sum() / labelled.sum():.1%} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
