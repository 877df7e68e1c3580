"""The data sets by name: what they hold, and how to build and open them."""

import contextlib
import dataclasses
import fcntl
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging

from data import camvid, street_scenes
from data.builder import SegmentationBuilder
from data.streets import classes as street_classes


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
      name: the name that a config gives as `data.name`.
      builder: its TFDS builder.
      classes: names of the classes in the order of their train ids.
      palette: RGB of each class.
      needs_dir: whether it is built from a directory that the user names.
      ignore_label: value of label pixels that belong to no class.
    """

    name: str
    builder: type[SegmentationBuilder]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    needs_dir: bool
    ignore_label: int = 255

    @property
    def num_classes(self) -> int:
        """The number of classes, void not counted."""
        return len(self.classes)


_DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="street_scenes",
            builder=street_scenes.StreetScenes,
            classes=street_classes.NAMES,
            palette=street_classes.PALETTE,
            needs_dir=False,
        ),
        Dataset(
            name="camvid",
            builder=camvid.CamVid,
            classes=camvid.CLASSES,
            palette=camvid.PALETTE,
            needs_dir=True,
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names of all data sets."""
    return tuple(_DATASETS)


def get(name: str) -> Dataset:
    """The data set of that name.

    Raises:
      ValueError: if there is none.
    """
    if name not in _DATASETS:
        raise ValueError(f"data.name is {name!r}, expected one of: {', '.join(names())}.")
    return _DATASETS[name]


def prepare(name: str, directory: str | None, cache_dir: str) -> SegmentationBuilder:
    """Builds a data set unless the cache holds it already.

    The cache keeps one folder for everything that the records depend on: a source directory that
    changed is built anew. Several processes may call this at once; one builds, the others wait.

    Args:
      name: name of the data set.
      directory: the source directory, for a data set that needs one, else None.
      cache_dir: where built data sets are kept.

    Returns:
      A TFDS builder, ready for `open_source`.

    Raises:
      ValueError: if the name is unknown, or a directory is missing or not wanted.
      FileNotFoundError: if the directory does not exist or lacks files.
    """
    dataset = get(name)
    source = _source_directory(dataset, directory)
    # Absolute: readers in other processes may work in another directory.
    root = Path(cache_dir).expanduser().absolute()
    folder = root / f"{name}-{dataset.builder.fingerprint(source)}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"), _quiet_tfds():
        builder = dataset.builder.create(source, folder)
        if not builder.is_prepared():
            _remove_leftovers(builder)
            # TFDS writes to a folder of another name and renames it when all is written.
            builder.download_and_prepare()
    return builder


def open_source(builder: SegmentationBuilder, split: str) -> Sequence[dict]:
    """Opens a split for random access without decoding anything.

    Args:
      builder: what `prepare` returned.
      split: name of the split.

    Returns:
      A picklable sequence of `{'image': JPEG or PNG bytes, 'label': grey PNG bytes, 'id': str}`.

    Raises:
      ValueError: if the data set has no such split.
    """
    splits = tuple(builder.info.splits)
    if split not in splits:
        raise ValueError(
            f"{builder.name} has no split {split!r}, expected one of: {', '.join(splits)}."
        )
    return EncodedSource(str(builder.data_dir), split)


class EncodedSource(Sequence):
    """The records of one split as they are stored, in the order in which they were built."""

    def __init__(self, data_dir: str, split: str):
        self._place = (data_dir, split)
        skip = tfds.decode.SkipDecoding()
        builder = tfds.builder_from_directory(data_dir)
        self._records = builder.as_data_source(split, decoders={"image": skip, "label": skip})

    def __reduce__(self):
        # A worker opens the files itself.
        return EncodedSource, self._place

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        record = self._records[index]
        return {**record, "id": record["id"].decode()}


def _source_directory(dataset: Dataset, directory: str | None) -> Path | None:
    if not dataset.needs_dir:
        if directory:
            raise ValueError(
                f"{dataset.name} is built without a directory, but data.dir is {directory!r}. "
                "Leave --config.data.dir out."
            )
        return None
    if not directory:
        raise ValueError(
            f"{dataset.name} is built from a directory: pass --config.data.dir=DIR. "
            f"data/{dataset.name}.py says where to get it."
        )
    source = Path(directory).expanduser().resolve()
    if not source.is_dir():
        raise FileNotFoundError(f"data.dir is {directory!r}, expected an existing directory.")
    return source


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process, however the process ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_leftovers(builder: SegmentationBuilder) -> None:
    """Removes what a killed build left behind; the lock says that nobody is writing it."""
    for path in Path(builder.data_dir).parent.glob("incomplete.*"):
        tfds.core.Path(path).rmtree()


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Silences what TFDS says of downloads and shards: the builders show a bar of their own."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logging.set_verbosity(verbosity)
