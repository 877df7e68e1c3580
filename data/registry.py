"""The data sets by name: what they hold, and how to build and open them."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from data import cache, camvid, cityscapes, folder, heads, mapillary
from data.builder import SegmentationBuilder
from data.encodings import FILES
from data.label_spec import IGNORE, LabelSpec
from data.street_scenes.coarse_set import StreetScenesCoarse
from data.street_scenes.data_set import StreetScenes
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
    "street_scenes_coarse": StreetScenesCoarse,
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


def get(
    name: str, directory: str | None = None, cache_dir: str | None = None, digest: str = ""
) -> Dataset:
    """The data set of that name.

    Args:
      name: the name.
      directory: the source directory; only asked for by a data set whose classes it lists.
      cache_dir: where such a data set is looked for, built, without its directory.
      digest: as for `prepare`.

    Returns:
      What is known of the data set without building it.

    Raises:
      ValueError: if there is none of that name, or its directory or class list is missing or wrong.
      FileNotFoundError: if the directory does not exist or lacks the class list.
    """
    builder = _builder(name)
    source = None
    if builder.CLASSES_IN_DIR and not directory and cache_dir is not None:
        source = cache.by_name(builder, cache.root_of(cache_dir), digest).data_dir
    elif builder.CLASSES_IN_DIR:
        source = source_directory(name, directory)
    label_spec = builder.label_spec(source)
    return Dataset(name=name, builder=builder, label_spec=label_spec, needs_dir=builder.NEEDS_DIR)


def needs_directory(name: str) -> bool:
    """Whether a data set is built from a directory that the user names."""
    return _builder(name).NEEDS_DIR


def lists_classes(name: str) -> bool:
    """Whether the directory of a data set says which classes there are."""
    return _builder(name).CLASSES_IN_DIR


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


def check_there(name: str, directory: str | None, cache_dir: str, digest: str = "") -> None:
    """Raises what `prepare` does of a directory, or a built data set, that is not there."""
    builder = _builder(name)
    if builder.NEEDS_DIR and not directory:
        cache.by_name(builder, cache.root_of(cache_dir), digest)
    else:
        source_directory(name, directory)


def prepare(
    name: str, directory: str | None, cache_dir: str, digest: str = "", encoding: str = FILES
) -> SegmentationBuilder:
    """Builds a data set unless the cache holds it already.

    The cache keeps one folder for everything that the records depend on: a source directory that
    changed is built anew, as is what was damaged in the cache. Several processes may call this at
    once; one builds, the others wait. A data set that needs a directory is opened as it was built
    where none is named; its source may be gone.

    Args:
      name: name of the data set.
      directory: the source directory, for a data set that needs one, else None.
      cache_dir: where built data sets are kept.
      digest: of the records, or how it begins; empty for any.
      encoding: how it stores images and labels where it is built, a name in
        `encodings.ENCODINGS`; another one than `FILES` is also asked for where it was built before.

    Returns:
      A TFDS builder, ready for `open_source`, with what was `found`.

    Raises:
      ValueError: if the name is unknown, a directory is missing or not wanted, files are wrong, or
        the cache holds no such data set, several, or one of another digest or encoding.
      FileNotFoundError: if the directory does not exist or lacks files.
      PermissionError: if a folder may not be read.
    """
    builder_class, root = _builder(name), cache.root_of(cache_dir)
    if builder_class.NEEDS_DIR and not directory:
        built_set = cache.by_name(builder_class, root, digest)
        _check_encoding(built_set, encoding)
        return cache.opened(builder_class, built_set)
    builder = cache.of_source(builder_class, source_directory(name, directory), root, encoding)
    if not builder.found.digest.startswith(digest):
        raise ValueError(
            f"data.built is {digest}, but {name} as it is built here has the digest"
            f" {builder.found.digest or 'of an earlier version, which is none'}: its images or"
            " labels are others; take them with --config.data.built=''"
        )
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
        splits = ", ".join(
            f"{name} ({info.num_examples} images)" for name, info in builder.info.splits.items()
        )
        reason = f" ({str(error).splitlines()[-1].rstrip('.')})" if "[" in split else ""
        raise ValueError(
            f"{builder.name} has no split {split!r}{reason}, expected one of: {splits}; or several"
            " or parts of them, like 'train+validation' or 'train[:10%]'."
        ) from error
    if images < 1:
        raise ValueError(f"{builder.name}/{split} holds no image; name a larger part.")
    train_ids = builder.label_spec(builder.directory).train_ids
    return EncodedSource(str(builder.data_dir), split, builder.KEYS, train_ids)


@contextlib.contextmanager
def naming_the_pool() -> Iterator[None]:
    """Errors of this module name the fields of `data.pool`, rather than of `data`, in the body."""

    def of_pool(error: Exception) -> str:
        return re.sub(r"\bdata\.(name|dir|built)\b", r"data.pool.\1", str(error))

    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(of_pool(error)) from error
    except ValueError as error:
        raise ValueError(of_pool(error)) from error


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

    def head(self, index: int) -> dict:
        """Of a record its 'id' and, of the image, 'size', without reading it.

        All of it, where the data set was built by a version that kept no heads.
        """
        heads = self._heads
        if heads is None:
            return self[index]
        name, rows, columns = heads[index]
        return {"id": name, "size": (rows, columns)}

    @functools.cached_property
    def _heads(self) -> list[heads.Head] | None:
        return heads.read(*self._arguments[:2])

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


def _check_encoding(built_set: cache.BuiltSet, encoding: str) -> None:
    there = built_set.found.encoding
    if encoding not in (FILES, there):
        raise ValueError(
            f"data.encoding is {encoding}, but the data set that data.cache_dir holds has the"
            f" encoding {there}; take that with --config.data.encoding={there}, or build one with"
            " --config.data.dir=DIR"
        )


def _builder(name: str) -> type[SegmentationBuilder]:
    if name not in _BUILDERS:
        raise ValueError(f"data.name is {name!r}, expected one of: {', '.join(names())}.")
    return _BUILDERS[name]
