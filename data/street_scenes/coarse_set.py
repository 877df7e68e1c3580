"""Other painted street scenes, labelled as coarsely as the train_extra split of Cityscapes.

Its scenes are painted from a seed of their own, so that none is in `street_scenes`. What they show
is known all the same: `fine_label` says how right coarse labels and auto-labels are.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data.street_scenes import coarse_label, data_set, painter, records

SEED = data_set.SEED + 1
SIZES = {"train": 2400, "validation": 100}


class StreetScenesCoarse(data_set.StreetScenes):
    """Painted street scenes, 128 x 256, with coarse labels: half of the pixels have none."""

    name = "street_scenes_coarse"
    VERSION = tfds.core.Version("1.0.0")

    @classmethod
    def fingerprint(cls, directory: Path | None = None) -> str:
        sizes = "-".join(str(size) for size in SIZES.values())
        return f"painter{painter.VERSION}-coarse{coarse_label.VERSION}-seed{SEED}-{sizes}"

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        painted = records.painted("coarse", SEED, split, SIZES[split])
        yield from enumerate(self.track(painted, split, SIZES[split]))


def fine_label(name: str) -> np.ndarray:
    """What a scene of the set shows, in full; it is painted again, a tenth of a second.

    Args:
      name: the id of its record, like 'coarse-train-0042'; auto-labels keep it.

    Returns:
      Train ids, or 255, uint8 `[128, 256]`.

    Raises:
      ValueError: it is no such id.
    """
    match = re.fullmatch(r"coarse-([a-z]+)-(\d{4})", name)
    if not match or int(match[2]) >= SIZES.get(match[1], 0):
        raise ValueError(
            f"{name!r} is no image of {StreetScenesCoarse.name}; expected the id of a record, like"
            " 'coarse-train-0042'"
        )
    return painter.paint(SEED, match[1], int(match[2]))[1]
