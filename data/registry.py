"""The data sets by name: what they hold, and how to build and open them."""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging

from data import built, camvid, cityscapes, folder, mapillary
from data.builder import FORMAT, SegmentationBuilder
from data.label_spec import IGNORE, LabelSpec
from data.street_scenes.data_set import StreetScenes
from hmsa_jax.runtime import locks
from hmsa_jax.runtime.console import stderr
from hmsa_jax.runtime.paths import local_path


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
      name: the name that a config gives as `data.name`.
      builder: its TFDS builder.
      label_spec: its classes, and how its labels name them.
      needs_dir: whether it is built from a directory that the user names.
    """

    name: str
    builder: type[SegmentationBuilder]
    label_spec: LabelSpec
    needs_dir: bool
    ignore_label = IGNORE  # the class number of label pixels that belong to no class

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their train ids."""
        return self.label_spec.names


_BUILDERS = {
    "street_scenes": StreetScenes,
    "camvid": camvid.CamVid,
    "cityscapes": cityscapes.Cityscapes,
    "cityscapes_coarse": cityscapes.CityscapesCoarse,
    "folder": folder.Folder,
    "mapillary_v1": mapillary.MapillaryV1,
    "mapillary_v1_66": mapillary.MapillaryV1With66,
    "mapillary_v2": mapillary.MapillaryV2,
}


def names() -> tuple[str, ...]:
    """The names of all data sets."""
    return tuple(_BUILDERS)


def get(name: str, directory: str | None = None) -> Dataset:
    """The data set of that name.

    Args:
      name: the name.
      directory: the source directory; only asked for by a data set whose classes it lists.

    Returns:
      What is known of the data set without building it.

    Raises:
      ValueError: if there is none of that name, or its directory or class list is missing or wrong.
      FileNotFoundError: if the directory does not exist or lacks the class list.
    """
    builder = _builder(name)
    source = source_directory(name, directory) if builder.CLASSES_IN_DIR else None
    label_spec = builder.label_spec(source)
    return Dataset(name=name, builder=builder, label_spec=label_spec, needs_dir=builder.NEEDS_DIR)


def source_directory(name: str, directory: str | None) -> Path | None:
    """The directory that a data set is built from; None for one that needs none.

    Args:
      name: name of the data set.
      directory: what the user says.

    Returns:
      An absolute path of a directory that exists.

    Raises:
      ValueError: if a directory is missing or not wanted.
      FileNotFoundError: if the directory does not exist.
    """
    builder = _builder(name)
    if not builder.NEEDS_DIR:
        if directory:
            raise ValueError(
                f"{name} is built without a directory, but data.dir is {directory!r}. "
                "Leave --config.data.dir out."
            )
        return None
    if not directory:
        module = builder.__module__.replace(".", "/")
        raise ValueError(
            f"{name} is built from a directory: pass --config.data.dir=DIR. "
            f"{module}.py says where to get it."
        )
    source = local_path(directory, "data.dir")
    if not source.is_dir():  # as is a link to itself, which does not resolve
        raise FileNotFoundError(f"data.dir is {directory!r}, expected an existing directory.")
    return source.resolve()


def prepare(name: str, directory: str | None, cache_dir: str) -> SegmentationBuilder:
    """Builds a data set unless the cache holds it already.

    The cache keeps one folder for everything that the records depend on: a source directory that
    changed is built anew, as is what was damaged in the cache. Several processes may call this at
    once; one builds, the others wait.

    Args:
      name: name of the data set.
      directory: the source directory, for a data set that needs one, else None.
      cache_dir: where built data sets are kept.

    Returns:
      A TFDS builder, ready for `open_source`, with what was `found`.

    Raises:
      ValueError: if the name is unknown, a directory is missing or not wanted, or files are wrong.
      FileNotFoundError: if the directory does not exist or lacks files.
      PermissionError: if a folder may not be read.
    """
    builder_class = _builder(name)
    source = source_directory(name, directory)
    # Absolute: readers in other processes may work in another directory.
    root = local_path(cache_dir, "data.cache_dir").absolute()
    if "**" in str(root):
        raise ValueError(
            f"data.cache_dir is {root}; TFDS takes no path with ** in it: name another."
        )
    home = root / f"{builder_class.name}-{FORMAT}-{builder_class.fingerprint(source)}"
    data_dir = home / builder_class.name / str(builder_class.VERSION)
    home.mkdir(parents=True, exist_ok=True)
    with locks.waiting_for(home / "lock"), _quiet_tfds():
        found = built.read(data_dir)
        if found is None:
            _remove_leftovers(data_dir)
        builder = builder_class.create(source, home)
        if found is None:
            # TFDS writes to a folder of another name and renames it when all is written.
            builder.download_and_prepare()
            built.write(data_dir, builder.found)
        else:
            builder.found = found
    return builder


def open_source(builder: SegmentationBuilder, split: str) -> Sequence[dict]:
    """Opens a split for random access without decoding anything.

    Args:
      builder: what `prepare` returned.
      split: name of the split, or several or parts of them as TFDS writes it: 'train+validation',
        'train[:10%]'.

    Returns:
      A picklable sequence of `{'image': JPEG or PNG bytes, 'label': grey PNG bytes, 'id': str}`;
      where the labels hold other values than train ids, with 'train_ids': 256 bytes, what each
      value stands for.

    Raises:
      ValueError: if the data set has no such split, or no image in it.
    """
    try:
        images = builder.info.splits[split].num_examples
    except ValueError as error:
        splits = ", ".join(builder.info.splits)
        raise ValueError(
            f"{builder.name} has no split {split!r}, expected one of: {splits}; or several or parts"
            " of them, like 'train+validation' or 'train[:10%]'."
        ) from error
    if images < 1:
        raise ValueError(f"{builder.name}/{split} holds no image; name a larger part.")
    train_ids = builder.label_spec(builder.directory).train_ids
    return EncodedSource(str(builder.data_dir), split, builder.KEYS, train_ids)


class EncodedSource(Sequence):
    """The records of one split as they are stored, in the order in which they were built.

    Args:
      data_dir: where TFDS stored them.
      split: which of them.
      keys: what the stored records call image, label and id.
      train_ids: goes into every record, unless None.
    """

    def __init__(
        self, data_dir: str, split: str, keys: tuple[str, str, str], train_ids: bytes | None
    ):
        self._arguments = (data_dir, split, keys, train_ids)
        self._keys = keys
        self._constant = {} if train_ids is None else {"train_ids": train_ids}
        image, label, _ = keys
        skip = tfds.decode.SkipDecoding()
        builder = tfds.builder_from_directory(data_dir)
        self._records = builder.as_data_source(split, decoders={image: skip, label: skip})

    def __reduce__(self):
        # A worker opens the files itself.
        return EncodedSource, self._arguments

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        try:
            record = self._records[index]
        except Exception as error:  # TFDS and its readers name no type for damage
            raise ValueError(
                f"record {index} cannot be read ({error}); delete {self._arguments[0]}, it is"
                " built anew then."
            ) from error
        image, label, name = map(record.get, self._keys)
        return {"image": image, "label": label, "id": name.decode(), **self._constant}


def _builder(name: str) -> type[SegmentationBuilder]:
    if name not in _BUILDERS:
        raise ValueError(f"data.name is {name!r}, expected one of: {', '.join(names())}.")
    return _BUILDERS[name]


def _remove_leftovers(data_dir: Path) -> None:
    """Removes what a killed build left behind, and what was damaged; nobody else is writing it."""
    for path in data_dir.parent.glob("incomplete.*"):
        tfds.core.Path(path).rmtree()
    if data_dir.exists():
        stderr.print(f"{data_dir} is damaged; it is built anew.", soft_wrap=True)
        tfds.core.Path(data_dir).rmtree()


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
