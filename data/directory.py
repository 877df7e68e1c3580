"""Builders that read pairs of image and label from a directory of the user's."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data import checks, files, header
from data.builder import SegmentationBuilder
from data.checks import Colours, Listing, Pair
from data.label_reader import ColourReader, NumberReader
from data.pixels import encode_label
from data.problems import LEFT_OUT, Problems
from data.tree import LeftOut
from hmsa_jax.runtime import parallel


class DirectoryBuilder(SegmentationBuilder):
    """A builder over a directory, which its class methods need.

    A subclass says in `listing` which files belong to a split.
    """

    directory: Path

    NEEDS_DIR = True
    # What to say of values that a label must not hold.
    VALUES_HINT: ClassVar[str] = ""

    def __init__(self, *, directory: Path, **kwargs: Any):
        """Prepares to read `directory`; kwargs go to TFDS."""
        self.directory = directory
        super().__init__(**kwargs)

    @classmethod
    def listing(cls, directory: Path) -> tuple[dict[str, Listing], list[LeftOut]]:
        """The files of each split that the directory holds, one at least; and what is left out.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if an archive cannot be read.
          PermissionError: if a folder may not be read.
        """
        raise NotImplementedError

    @classmethod
    def colours(cls, directory: Path) -> Colours:
        """The colours that the data set gives to values of the labels."""
        label_spec = cls.label_spec(directory)
        return dict(zip(label_spec.class_values, label_spec.palette, strict=True))

    @classmethod
    def label_reader(cls, directory: Path) -> NumberReader | ColourReader:
        """What reads the files of the labels."""
        del directory
        return NumberReader()

    @classmethod
    def fingerprint(cls, directory: Path) -> str:  # type: ignore[override]
        """Hash of the directory's path and of name, size and time of every file that is read."""
        directory = Path(directory).resolve()
        paths = list(cls.side_files(directory))
        for listing in cls.listing(directory)[0].values():
            paths += [file.path for _, file in (*listing.images, *(listing.labels or ()))]
        return files.fingerprint(directory, paths)

    @classmethod
    def create(  # type: ignore[override]
        cls, directory: Path, data_dir: Path
    ) -> "DirectoryBuilder":
        """The builder that stores under `data_dir` what it reads from `directory`."""
        return cls(directory=directory, data_dir=data_dir, file_format="array_record")

    @classmethod
    def pairs(cls, directory: Path) -> tuple[dict[str, list[Pair]], Problems]:
        """Brings images and labels together.

        Args:
          directory: the directory that the user names.

        Returns:
          The pairs of every split; and what has no counterpart, or is left out.

        Raises:
          FileNotFoundError: if there is no split.
          ValueError: if the class list or an archive cannot be read.
        """
        directory = Path(directory)
        values, forms = (
            cls.label_spec(directory).describe_values(),
            cls.label_reader(directory).forms,
        )
        problems = Problems(values, cls.VALUES_HINT, forms)
        listings, left_out = cls.listing(directory)
        for item in left_out:
            problems.add(LEFT_OUT[item.reason], str(item.file))
        pairs = {split: checks.match(listing, problems) for split, listing in listings.items()}
        return pairs, problems

    def encode(self, pair: Pair) -> tuple[bytes, bytes]:
        """The bytes of an image, and of its label as an 8-bit grey PNG, as they are stored."""
        image = pair.image.read()
        if pair.label is not None:
            return image, self._reader.stored(pair.label.read())
        return image, self.blank_label(*header.read(image).displayed)

    def blank_label(self, height: int, width: int) -> bytes:
        """The label of an image that has none: ignored everywhere."""
        value = self.label_spec(self.directory).ignored_value
        return encode_label(np.full((height, width), value, np.uint8))

    @functools.cached_property
    def _reader(self) -> NumberReader | ColourReader:
        return self.label_reader(self.directory)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager
        pairs, problems = self.pairs(self.directory)
        for split, of_split in pairs.items():
            for finding in checks.inspect(
                of_split,
                len(of_split),
                self.label_spec(self.directory),
                self.colours(self.directory),
                description=f"Checking {self.name} {split}",
                reader=self._reader,
            ):
                for problem in finding.problems:
                    problems.add(*problem)
                self.found.add(split, finding.counts)
        problems.refuse(f"{self.name} cannot be built from {self.directory}")
        self.found.remarks = [heading for heading, _, _ in problems.listed(remarks=True)]
        return {split: self._generate_examples(split, pairs[split]) for split in pairs}

    def _generate_examples(self, split: str, pairs: list[Pair]) -> Iterator[tuple[str, dict]]:
        encoded = parallel.in_order(self.encode, pairs)
        for pair, (image, label) in self.track(zip(pairs, encoded, strict=True), split, len(pairs)):
            yield pair.name, dict(zip(self.KEYS, (image, label, pair.name), strict=True))
