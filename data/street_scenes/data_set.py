"""The painted street scenes as a data set.

It needs no download. `painter.paint` paints each scene from (seed, split, index), so the data set
is the same on every machine that runs the same versions of numpy and OpenCV.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from data.builder import SegmentationBuilder
from data.label_spec import LabelSpec
from data.street_scenes import classes, painter, records

SEED = 0
SIZES = {"train": 800, "validation": 100}


class StreetScenes(SegmentationBuilder):
    """Painted street scenes, 128 x 256, 11 classes and void.

    Large regions with little texture of their own (road, pavement, walls) stand beside things one
    or two pixels wide (posts, distant signs and people, lane marks): the former need context, the
    latter resolution.
    """

    name = "street_scenes"
    VERSION = tfds.core.Version("1.0.0")
    ACTIVITY = "Painting"

    @classmethod
    def fingerprint(cls, directory: Path | None = None) -> str:
        sizes = "-".join(str(size) for size in SIZES.values())
        return f"painter{painter.VERSION}-seed{SEED}-{sizes}"

    @classmethod
    def label_spec(cls, directory: Path | None = None) -> LabelSpec:
        """The classes as they are painted."""
        return LabelSpec.of_train_ids(classes.NAMES, classes.PALETTE)

    @classmethod
    def create(cls, directory: Path | None, data_dir: Path) -> "StreetScenes":
        return cls(data_dir=data_dir, file_format="array_record")

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        painted = records.painted("fine", SEED, split, SIZES[split])
        yield from enumerate(self.track(painted, split, SIZES[split]))
