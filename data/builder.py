"""What the builders of this package have in common."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data import encodings
from data import heads as heads_lib
from data.built import Found
from data.label_spec import LabelSpec
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import track

# Raise it when records of the same sources change, or what is kept beside them: all is built anew.
FORMAT = 2

_RECORDS_PER_FILE = 512
_RECORDS_AT_ONCE = 16


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A TFDS builder whose records hold an image, its label and an id.

    Images and labels are stored as the bytes that a subclass yields, or in another encoding, so
    building and reading need no TensorFlow. Records keep the order in which they are yielded.

    A subclass names its `VERSION`, yields records from `_generate_examples`, says in `fingerprint`
    what the records depend on and in `label_spec` what the labels mean.
    """

    # What a progress bar says, as in 'Painting street_scenes train'.
    ACTIVITY: ClassVar[str] = "Reading"
    # What a record calls its image, label and id.
    KEYS: ClassVar[tuple[str, str, str]] = ("image", "label", "id")
    # Whether it is built from a directory that the user names.
    NEEDS_DIR: ClassVar[bool] = False
    # Whether that directory also says which classes there are.
    CLASSES_IN_DIR: ClassVar[bool] = False

    directory: Path | None = None
    # Whether it was opened as it was built, by its name, without asking for its source.
    is_sourceless: bool = False
    # How it stores images and labels when it is built, a name in `encodings.ENCODINGS`.
    encoding: str = encodings.FILES
    # Ids and sizes of the records that it has built, by split.
    heads: dict[str, list[heads_lib.Head]]
    # What the check of its files found; filled when it is built, or read from beside it.
    found: Found

    def __init_subclass__(cls, **kwargs: Any):
        """Keeps subclasses out of TFDS's own registry: `data.registry` has them."""
        super().__init_subclass__(**{"skip_registration": True, **kwargs})

    def __init__(self, **kwargs: Any):
        """Prepares to build or read; kwargs go to TFDS."""
        self.found, self.heads = Found(), {}
        super().__init__(**kwargs)

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
    def label_spec(cls, directory: Path | None) -> LabelSpec:
        """What the values of the labels mean.

        Args:
          directory: the source directory; read only if `CLASSES_IN_DIR`.

        Returns:
          The classes, and how the stored labels name them.
        """
        raise NotImplementedError

    @classmethod
    def side_files(cls, directory: Path | None) -> tuple[Path, ...]:
        """Other files on which the data set depends; they are kept beside what is built."""
        del directory
        return ()

    @classmethod
    def create(cls, directory: Path | None, data_dir: Path) -> "SegmentationBuilder":
        """The builder that stores under `data_dir` what it reads from `directory`.

        To open what is built without its source, `directory` is the one with the records.
        """
        raise NotImplementedError

    def track(self, items: Iterable, split: str, total: int) -> Iterator:
        """Yields the items under a progress bar that goes to the standard error stream."""
        return track(items, total, f"{self.ACTIVITY} {self.name} {split}")

    def _info(self) -> tfds.core.DatasetInfo:
        image, label, name = self.KEYS
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {
                    image: tfds.features.Image(shape=(None, None, 3)),
                    label: tfds.features.Image(shape=(None, None, 1)),
                    name: tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        """Writes the records as they come.

        TFDS itself would collect a split first: up to a gigabyte in memory, and more than that with
        the help of TensorFlow.
        """
        splits = self._split_generators(dl_manager)
        written = self._info()  # of the folder that TFDS renames when all is written
        writer = tfds.core.SequentialWriter(
            written, max_examples_per_shard=_RECORDS_PER_FILE, file_format="array_record"
        )
        writer.initialize_splits(list(splits))
        other = () if self.encoding == encodings.FILES else (self.encoding,)
        digest = hashlib.blake2b(repr((self.name, FORMAT, *other)).encode(), digest_size=8)
        for path in self.side_files(self.directory):
            _add(digest, path.read_bytes())
        for split, examples in splits.items():
            _add(digest, split.encode())
            self.heads[split] = []
            encoded = self._encoded(r for _, r in examples)
            while records := list(itertools.islice(encoded, _RECORDS_AT_ONCE)):
                writer.add_examples({split: records})
                self.heads[split] += [heads_lib.head_of(record, self.KEYS) for record in records]
                for value in (record[key] for record in records for key in self.KEYS):
                    _add(digest, value.encode() if isinstance(value, str) else value)
        writer.close_all()
        self.info.set_splits(written.splits)
        self.found.digest = digest.hexdigest()

    def _encoded(self, records: Iterator[dict]) -> Iterator[dict]:
        """The records as they are stored."""
        if self.encoding == encodings.FILES:
            return records
        return parallel.in_order(self._encode, records)

    def _encode(self, record: dict) -> dict:
        image, label, _ = self.KEYS
        stored = encodings.ENCODINGS[self.encoding](record[image], record[label])
        return record | dict(zip((image, label), stored, strict=True))


def _add(digest: Any, data: bytes) -> None:
    """Takes bytes, and where they end."""
    digest.update(len(data).to_bytes(8, "little"))
    digest.update(data)
