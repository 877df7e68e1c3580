"""What the builders of this package have in common."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder whose records are `{'image', 'label', 'id'}`.

    Images and labels are stored as the bytes that a subclass yields, so building and reading need
    no TensorFlow. Records keep the order of their keys.

    A subclass names its `VERSION`, yields records from `_generate_examples` and says in
    `fingerprint` what the records depend on.
    """

    # What a progress bar says, as in 'Painting street_scenes train'.
    ACTIVITY: ClassVar[str] = "Reading"

    @classmethod
    def fingerprint(cls, directory: Path | None) -> str:
        """A short string that changes whenever the records would.

        Args:
          directory: the source directory, for a data set that has one.

        Returns:
          Text fit for a folder name.
        """
        raise NotImplementedError

    @classmethod
    def create(cls, directory: Path | None, data_dir: Path) -> "SegmentationBuilder":
        """The builder that stores under `data_dir` what it reads from `directory`."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.Image(shape=(None, None, 1)),
                    "id": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def track(self, items: Iterable, split: str, total: int) -> Iterator:
        """Yields the items under a progress bar that goes to the standard error stream."""
        with Progress(
            TextColumn(f"{self.ACTIVITY} {self.name} {split}:"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress:
            yield from progress.track(items, total=total)
