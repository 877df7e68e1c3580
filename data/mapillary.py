"""Mapillary Vistas v1.2 and v2.0, from what its owners deliver.

Where to get it: https://www.mapillary.com/dataset/vistas, after registration, unpacked as

    DIR/{training,validation,testing}/images/NAME.jpg
    DIR/{training,validation}/labels/NAME.png         v1.2, with DIR/config.json
    DIR/{training,validation}/v1.2/labels/NAME.png    v1.2 beside v2.0, with DIR/config_v1.2.json
    DIR/{training,validation}/v2.0/labels/NAME.png    v2.0, with DIR/config_v2.0.json

TFDS's names of the splits are train, validation and test; those that are there are built. Names
and colours of the classes come from the config file: the labels that it marks as evaluated are the
classes, the others are ignored ('mapillary_v1': 65 classes of 66 labels). 'mapillary_v1_66' counts
the void label as a class, too, and shares its records with 'mapillary_v1'.

All images get a long edge of 2177 pixels, as in the paper: larger ones are reduced, smaller ones
enlarged. The reduction averages over areas: bilinear sampling would skip pixels beyond a factor of
two, which thin poles do not survive. They are stored as JPEG of quality 95 with full colour
resolution, a fifth of the size of PNG; images of that size keep their bytes. Labels are scaled to
the nearest pixel about the same centres.

Licence: the owners' own, free for research and, on request, commercial use, without passing the
images on, so they are no part of this project. Source: Neuhold et al., "The Mapillary Vistas
Dataset for Semantic Understanding of Street Scenes", ICCV 2017.
"""

import collections
from pathlib import Path
from typing import ClassVar

import cv2
import tensorflow_datasets as tfds

from data.checks import Listing, Pair
from data.directory import DirectoryBuilder
from data.files import File, is_utf8, read_json
from data.label_spec import IGNORE, LabelSpec
from data.pixels import decode_image, decode_label, encode_image, encode_label
from data.tree import IMAGE_SUFFIXES, LABEL_SUFFIXES, LeftOut, describe, named_files

LONG_EDGE = 2177
# TFDS name of a split -> name of its folder.
SPLITS = {"train": "training", "validation": "validation", "test": "testing"}
_LAYOUT = "The layout is described at the top of data/mapillary.py."
_OWNERS_FILE = "Put the file of the owners there."


class MapillaryV1(DirectoryBuilder):
    """Mapillary Vistas v1.2, 18000, 2000 and 5000 images of a long edge of 2177."""

    name = "mapillary_v1"
    VERSION = tfds.core.Version("2.0.0")
    CLASSES_IN_DIR = True
    VALUES_HINT = "Labels are the files of the owners; the config file lists their values."
    # Where the config and, in the folder of a split, the labels may be.
    CONFIGS: ClassVar[tuple[str, ...]] = ("config_v1.2.json", "config.json")
    LABEL_FOLDERS: ClassVar[tuple[str, ...]] = ("v1.2/labels", "labels")
    # Whether labels that are not evaluated are classes, too.
    VOID_IS_CLASS: ClassVar[bool] = False

    @classmethod
    def label_spec(cls, directory: Path) -> LabelSpec:  # type: ignore[override]
        """What the owners' config file says.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if it is not what the owners deliver.
        """
        return read_config(cls._config(directory), cls.VOID_IS_CLASS)

    @classmethod
    def side_files(cls, directory: Path) -> tuple[Path, ...]:  # type: ignore[override]
        return (cls._config(directory),)

    @classmethod
    def listing(cls, directory: Path) -> tuple[dict[str, Listing], list[LeftOut]]:
        """The files of each split of which there are images, and what is left out.

        Raises:
          FileNotFoundError: if there is none.
          PermissionError: if a folder may not be read.
        """
        listings, left_out = {}, []
        for split, folder in SPLITS.items():
            images, no_images = named_files(directory / folder / "images", IMAGE_SUFFIXES)
            labels: list[tuple[str, File]] = []
            no_labels: list[LeftOut] = []
            for name in cls.LABEL_FOLDERS:
                labels, no_labels = named_files(directory / folder / name, LABEL_SUFFIXES)
                if labels:
                    break
            left_out += [*no_images, *no_labels]
            if images:
                listings[split] = Listing(images, None if split == "test" else labels)
        if not listings:
            folders = ", ".join(f"{folder}/images" for folder in SPLITS.values())
            beside = f" ({describe(left_out)})" if left_out else ""
            raise FileNotFoundError(
                f"{directory}: no image in {folders}{beside}. Correct --config.data.dir. {_LAYOUT}"
            )
        return listings, left_out

    def encode(self, pair: Pair) -> tuple[bytes, bytes]:
        """The bytes of an image of the long edge, and of its label."""
        data, label = super().encode(pair)
        pixels = decode_label(label)
        height, width = scaled_size(*pixels.shape)
        if (height, width) == pixels.shape:
            return data, label
        image = decode_image(data, pixels.shape)
        kernel = cv2.INTER_AREA if max(height, width) < max(pixels.shape) else cv2.INTER_CUBIC
        image = cv2.resize(image, (width, height), interpolation=kernel)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return encode_image(image), encode_label(pixels)

    @classmethod
    def _config(cls, directory: Path) -> Path:
        for name in cls.CONFIGS:
            if (directory / name).is_file():
                return directory / name
        raise FileNotFoundError(
            f"{directory}: no {' or '.join(cls.CONFIGS)} in it. Correct --config.data.dir. "
            f"{_LAYOUT}"
        )


class MapillaryV1With66(MapillaryV1):
    """Mapillary Vistas v1.2 with void as a class, which makes the 66 that the paper counts."""

    name = MapillaryV1.name  # whose records it shares
    VERSION = MapillaryV1.VERSION
    VOID_IS_CLASS = True


class MapillaryV2(MapillaryV1):
    """Mapillary Vistas v2.0: the images of v1.2 with labels of more classes."""

    name = "mapillary_v2"
    VERSION = MapillaryV1.VERSION
    CONFIGS = ("config_v2.0.json",)
    LABEL_FOLDERS = ("v2.0/labels",)


def scaled_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the same proportions with a long edge of `LONG_EDGE`."""
    factor = LONG_EDGE / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def read_config(path: Path, void_is_class: bool) -> LabelSpec:
    """Reads the classes from the owners' config file.

    Args:
      path: of the file; its list "labels" tells "readable", "color" and "evaluate" of each value.
      void_is_class: whether labels that are not evaluated are classes, too.

    Returns:
      The label spec of the labels; a name that several have is followed by the value of each.

    Raises:
      ValueError: if the file is of another form.
    """
    content = read_json(path, _OWNERS_FILE)
    try:
        labels = [
            (label["readable"], tuple(map(int, label["color"])), label["evaluate"])
            for label in content["labels"]
        ]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(
            f'{path}: expected JSON with a list "labels", each with "readable", "color" and '
            f'"evaluate" ({error!r}). {_OWNERS_FILE}'
        ) from error
    chosen = [n for n, (_, _, evaluate) in enumerate(labels) if evaluate or void_is_class]
    if not chosen or len(labels) > IGNORE or not all(map(_is_label, labels)):
        raise ValueError(
            f"{path}: expected 1 to {IGNORE} labels with colours of three parts, some of them "
            f"evaluated. {_OWNERS_FILE}"
        )
    counts = collections.Counter(labels[n][0] for n in chosen)
    # Scores and lists of classes name a class by its name alone.
    names = [f"{labels[n][0]} ({n})" if counts[labels[n][0]] > 1 else labels[n][0] for n in chosen]
    return LabelSpec.of_raw_values(
        names=names,
        palette=[labels[n][1] for n in chosen],
        raw=chosen,
        ignored=range(len(labels)),
    )


def _is_label(label: tuple[str, tuple[int, ...], bool]) -> bool:
    name, colour, _ = label
    is_name = isinstance(name, str) and is_utf8(name)
    return is_name and len(colour) == 3 and all(0 <= part <= 255 for part in colour)
