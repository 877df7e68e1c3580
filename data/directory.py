"""Builders that read pairs of image and label from a directory of the user's."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from data import checks, files, parallel
from data.builder import SegmentationBuilder
from data.checks import Listing, Pair, Problems
from data.pixels import encode_label, grey_png

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class DirectoryBuilder(SegmentationBuilder, skip_registration=True):
    """A builder over a directory; a subclass says in `listing` which files belong to a split."""

    NEEDS_DIR = True
    # What to say of values that a label must not hold.
    VALUES_HINT: ClassVar[str] = ""

    def __init__(self, *, directory: Path, **kwargs):
        """Prepares to read `directory`; kwargs go to TFDS."""
        self.directory = Path(directory)
        super().__init__(**kwargs)

    @classmethod
    def listing(cls, directory: Path) -> dict[str, Listing]:
        """The files of each split that the directory holds; there is one at least.

        Raises:
          FileNotFoundError: if there is none.
          ValueError: if an archive cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def side_files(cls, directory: Path) -> tuple[Path, ...]:
        """Other files on which the data set depends."""
        del directory
        return ()

    @classmethod
    def fingerprint(cls, directory: Path) -> str:
        """Hash of the directory's path and of name, size and time of every file that is read."""
        directory = Path(directory).resolve()
        paths = list(cls.side_files(directory))
        for listing in cls.listing(directory).values():
            paths += [file.path for _, file in (*listing.images, *(listing.labels or ()))]
        return files.fingerprint(directory, paths)

    @classmethod
    def create(cls, directory: Path, data_dir: Path) -> "DirectoryBuilder":
        """The builder that stores under `data_dir` what it reads from `directory`."""
        return cls(directory=directory, data_dir=data_dir, file_format="array_record")

    @classmethod
    def pairs(cls, directory: Path) -> tuple[dict[str, list[Pair]], Problems]:
        """Brings images and labels together.

        Args:
          directory: the directory that the user names.

        Returns:
          The pairs of every split, and what has no counterpart.

        Raises:
          FileNotFoundError: if there is no split.
          ValueError: if the class list or an archive cannot be read.
        """
        directory = Path(directory)
        problems = Problems(cls.legend(directory).describe_values(), cls.VALUES_HINT)
        listings = cls.listing(directory)
        pairs = {split: checks.match(listing, problems) for split, listing in listings.items()}
        return pairs, problems

    def encode(self, pair: Pair) -> tuple[bytes, bytes]:
        """The bytes of an image, and of its label as an 8-bit grey PNG, as they are stored."""
        image = pair.image.read()
        if pair.label is not None:
            return image, grey_png(pair.label.read())
        with pair.image.open() as stream, Image.open(stream) as opened:
            width, height = opened.size
        return image, self.blank_label(height, width)

    def blank_label(self, height: int, width: int) -> bytes:
        """The label of an image that has none: ignored everywhere."""
        value = self.legend(self.directory).ignored_value
        return encode_label(np.full((height, width), value, np.uint8))

    def _split_generators(self, dl_manager):
        del dl_manager
        pairs, problems = self.pairs(self.directory)
        legend = self.legend(self.directory)
        every = [pair for of_split in pairs.values() for pair in of_split]
        for finding in checks.inspect(
            every, len(every), legend, whole=False, description=f"Checking {self.name}"
        ):
            for problem in finding.problems:
                problems.add(*problem)
        problems.refuse(f"{self.name} cannot be built from {self.directory}")
        return {split: self._generate_examples(split, pairs[split]) for split in pairs}

    def _generate_examples(self, split: str, pairs: list[Pair]):
        encoded = parallel.in_order(self.encode, pairs)
        for pair, (image, label) in self.track(zip(pairs, encoded, strict=True), split, len(pairs)):
            yield pair.name, dict(zip(self.KEYS, (image, label, pair.name), strict=True))


def named_files(folder: Path, suffixes: Iterable[str]) -> list[tuple[str, files.File]]:
    """The files below a folder, named by their path in it without suffix, as a `Listing` has them.

    Args:
      folder: it may be missing.
      suffixes: which files, in lower case.

    Returns:
      (name, file) in the order of the paths; hidden files are left out.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.suffix.lower() in suffixes and not hidden:
            found.append((place.with_suffix("").as_posix(), files.File(path)))
    return found
