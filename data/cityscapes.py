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

from pathlib import Path, PurePosixPath
from typing import ClassVar

import tensorflow_datasets as tfds

from data import files
from data.checks import Listing
from data.directory import DirectoryBuilder
from data.legend import Legend

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
LEGEND = Legend.of_raw_values(
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


class Cityscapes(DirectoryBuilder, skip_registration=True):
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
    def legend(cls, directory: Path | None = None) -> Legend:
        """The 19 classes of the benchmark, and the label ids that stand for them."""
        del directory
        return LEGEND

    @classmethod
    def listing(cls, directory: Path) -> dict[str, Listing]:
        """The files of each split of which there are images, and labels where it has any.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if an archive cannot be read.
        """
        images = _find(directory, "leftImg8bit", _IMAGE_ENDING)
        labels = _find(directory, cls.LABEL_KIND, f"_{cls.LABEL_KIND}_labelIds.png")
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
        return listings

    @classmethod
    def _is_there(cls, listing: Listing) -> bool:
        # Images without any label are a mistake that is told; labels without any image may be
        # what the archive of the labels held besides.
        return bool(listing.images)


class CityscapesCoarse(Cityscapes, skip_registration=True):
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


def _find(directory: Path, kind: str, ending: str) -> dict[str, list[tuple[str, files.File]]]:
    """Folder of a split -> (name, file), for all files of a kind; unpacked ones go first."""
    found = {}
    for file, parts in _candidates(Path(directory), kind):
        if len(parts) == 3 and parts[2].endswith(ending) and not parts[2].startswith("."):
            folder, name = parts[0], parts[2].removesuffix(ending)
            found.setdefault(folder, {}).setdefault(name, file)
    return {folder: sorted(named.items()) for folder, named in found.items()}


def _candidates(directory: Path, kind: str):
    """Yields files and their path as (split, city, name)."""
    for root in (directory / kind, *(directory / a / kind for a in _ARCHIVES[kind])):
        for path in sorted(root.glob("*/*/*.png")):
            yield files.File(path), path.relative_to(root).parts
    for archive in _ARCHIVES[kind]:
        path = directory / f"{archive}.zip"
        if path.is_file():
            for file in files.members(path):
                parts = PurePosixPath(file.member).parts
                if parts[0] == kind:
                    yield file, parts[1:]


def _count(found: dict) -> int:
    return sum(map(len, found.values()))
