"""Cityscapes, from what its owners deliver, unpacked or still zipped.

Where to get it: https://www.cityscapes-dataset.com, after registration. One directory holds any of

    leftImg8bit/{train,val,test,train_extra}/CITY/NAME_leftImg8bit.png
    gtFine/{train,val}/CITY/NAME_gtFine_labelIds.png
    gtCoarse/{train,val,train_extra}/CITY/NAME_gtCoarse_labelIds.png

or these folders inside a folder with the name of their archive (leftImg8bit_trainvaltest/
leftImg8bit/...), or the archives themselves, out of which files are read where they lie:
leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip, leftImg8bit_trainextra.zip, gtCoarse.zip.
The splits that are there are built: TFDS's names are train, validation, test and train_extra, and
'train+validation' is both.

Records are named as in TFDS's own builder and keep the label ids of the owners; a table turns them
into the 19 classes of the benchmark. The test labels are withheld: its pixels are ignored.

Licence: the owners' own, for research and other non-commercial use, without passing the images on,
so they are no part of this project. Source: Cordts et al., "The Cityscapes Dataset for Semantic
Urban Scene Understanding", CVPR 2016.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

import tensorflow_datasets as tfds

from data.checks import Listing
from data.directory import DirectoryBuilder
from data.files import File, members
from data.label_spec import LabelSpec
from data.tree import HIDDEN, OTHER_NAME, LeftOut, walk

# Label ids 0..33: name, and the colour where the benchmark evaluates it.
LABELS = (
    ("unlabeled", None),
    ("ego vehicle", None),
    ("rectification border", None),
    ("out of roi", None),
    ("static", None),
    ("dynamic", None),
    ("ground", None),
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("parking", None),
    ("rail track", None),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("guard rail", None),
    ("bridge", None),
    ("tunnel", None),
    ("pole", (153, 153, 153)),
    ("polegroup", None),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("caravan", None),
    ("trailer", None),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

_IDS = [number for number, (_, colour) in enumerate(LABELS) if colour]
LABEL_SPEC = LabelSpec.of_raw_values(
    names=[LABELS[number][0] for number in _IDS],
    palette=[LABELS[number][1] for number in _IDS],
    raw=_IDS,
    ignored=range(len(LABELS)),
)

# The archives that hold a kind of file.
_ARCHIVES = {
    "leftImg8bit": ("leftImg8bit_trainvaltest", "leftImg8bit_trainextra"),
    "gtFine": ("gtFine_trainvaltest",),
    "gtCoarse": ("gtCoarse",),
}
_IMAGE_ENDING = "_leftImg8bit.png"
# What the owners put beside the labels, and their scripts add.
_OTHER_LABELS = (
    "_color.png",
    "_instanceIds.png",
    "_polygons.json",
    "_labelTrainIds.png",
    "_instanceTrainIds.png",
)


class Cityscapes(DirectoryBuilder):
    """Cityscapes with fine labels: 2975, 500 and 1525 images of 1024 x 2048, 19 classes."""

    name = "cityscapes"
    VERSION = tfds.core.Version("1.0.0")
    KEYS = ("image_left", "segmentation_label", "image_id")
    VALUES_HINT = "Labels are the files *_labelIds.png as the owners deliver them."
    # TFDS name of a split -> name of its folder.
    SPLITS: ClassVar[dict[str, str]] = {"train": "train", "validation": "val", "test": "test"}
    LABEL_KIND: ClassVar[str] = "gtFine"
    WITHOUT_LABELS: ClassVar[tuple[str, ...]] = ("test",)

    @classmethod
    def label_spec(cls, directory: Path | None = None) -> LabelSpec:
        """The 19 classes of the benchmark, and the label ids that stand for them."""
        del directory
        return LABEL_SPEC

    @classmethod
    def listing(cls, directory: Path) -> tuple[dict[str, Listing], list[LeftOut]]:
        """The files of each split of which there are images, and labels where it has any.

        What the owners put beside the labels is not listed as left out.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if an archive cannot be read.
          PermissionError: if a folder may not be read.
        """
        kind, folders = cls.LABEL_KIND, set(cls.SPLITS.values())
        images, no_images = _find(directory, "leftImg8bit", _IMAGE_ENDING, folders, ())
        labels, no_labels = _find(directory, kind, f"_{kind}_labelIds.png", folders, _OTHER_LABELS)
        listings = {}
        for split, folder in cls.SPLITS.items():
            if split in cls.WITHOUT_LABELS:
                listing = Listing(images.get(folder, []), None)
            else:
                listing = Listing(images.get(folder, []), labels.get(folder, []))
            if cls._is_there(listing):
                listings[split] = listing
        if not listings:
            raise FileNotFoundError(
                f"{directory}: no split of {cls.name}, expected leftImg8bit/ and {cls.LABEL_KIND}/ "
                f"or their archives in it; found {_count(images)} images and {_count(labels)} "
                "labels. Correct --config.data.dir; data/cityscapes.py describes the layout."
            )
        return listings, [*no_images, *no_labels]

    @classmethod
    def _is_there(cls, listing: Listing) -> bool:
        # Images without any label are a mistake that is told; labels without any image may be
        # what the archive of the labels held besides.
        return bool(listing.images)


class CityscapesCoarse(Cityscapes):
    """Cityscapes with coarse labels: 19998 images in train_extra, and those of train and val."""

    name = "cityscapes_coarse"
    VERSION = tfds.core.Version("1.0.0")
    SPLITS: ClassVar[dict[str, str]] = {
        "train": "train",
        "validation": "val",
        "train_extra": "train_extra",
    }
    LABEL_KIND = "gtCoarse"
    WITHOUT_LABELS = ()

    @classmethod
    def _is_there(cls, listing: Listing) -> bool:
        # The images of train and val may have been fetched for their fine labels.
        return bool(listing.images and listing.labels)


def _find(
    directory: Path, kind: str, ending: str, folders: set[str], others: tuple[str, ...]
) -> tuple[dict[str, list[tuple[str, File]]], list[LeftOut]]:
    """All files of a kind; unpacked ones go first.

    Args:
      directory: the directory that the user names.
      kind: name of the folder that holds them, for all splits.
      ending: of their names.
      folders: of the splits whose left out files are told; others are another download.
      others: endings of the files that the owners put beside them.

    Returns:
      Folder of a split -> (name, file), and what is left out.
    """
    found: dict[str, dict[str, File]] = {}
    left_out = []
    for item, parts in _candidates(Path(directory), kind):
        if isinstance(item, File) and len(parts) == 3 and parts[2].endswith(ending):
            name = parts[2].removesuffix(ending)
            found.setdefault(parts[0], {}).setdefault(name, item)
        elif parts[0] in folders and not parts[-1].endswith(others):
            left_out.append(LeftOut(item, OTHER_NAME) if isinstance(item, File) else item)
    return {folder: sorted(named.items()) for folder, named in found.items()}, left_out


def _candidates(directory: Path, kind: str) -> Iterator[tuple[File | LeftOut, tuple[str, ...]]]:
    """Yields files and their path as (split, city, name)."""
    for root in (directory / kind, *(directory / a / kind for a in _ARCHIVES[kind])):
        for item in walk(root):
            path = item.file.path if isinstance(item, LeftOut) else item
            parts = path.relative_to(root).parts
            yield (item if isinstance(item, LeftOut) else File(item)), parts or (".",)
    for archive in _ARCHIVES[kind]:
        path = directory / f"{archive}.zip"
        if path.is_file():
            for file in members(path):
                parts = PurePosixPath(file.member).parts
                if len(parts) > 1 and parts[0] == kind:
                    hidden = any(part.startswith(".") for part in parts)
                    yield (LeftOut(file, HIDDEN) if hidden else file), parts[1:]


def _count(found: dict) -> int:
    return sum(map(len, found.values()))
