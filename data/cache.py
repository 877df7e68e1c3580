"""The directory that built data sets are kept in: of this machine, or of a bucket.

    CACHE/NAME-FORMAT-FINGERPRINT[-ENCODING]/NAME/VERSION/

holds the records as TFDS has them, `heads.json` (see `heads`), `found.json` (see `built`) and the
list of classes that the data set brings along if it does, so that it can be opened without its
source.
"""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging

from data import built, heads
from data.builder import FORMAT, SegmentationBuilder
from data.built import Found
from data.encodings import FILES
from hmsa_jax.runtime import locks, storage
from hmsa_jax.runtime.console import stderr
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.progress import tell


def root_of(cache_dir: str) -> Path:
    """The cache that `data.cache_dir` names.

    Raises:
      ValueError: it is no path, or one that TFDS does not take.
    """
    root = any_path(cache_dir, "data.cache_dir")
    # Absolute: readers in other processes may work in another directory.
    root = root if storage.is_remote(root) else root.absolute()
    if "**" in str(root):
        raise ValueError(
            f"data.cache_dir is {root}; TFDS takes no path with ** in it: name another."
        )
    return root


def of_source(
    builder_class: type[SegmentationBuilder], source: Path | None, root: Path, encoding: str
) -> SegmentationBuilder:
    """The builder of a data set, which is built unless the cache holds it as its source is now.

    Each encoding of a data set has a home of its own. Several processes may call this at once; one
    builds, the others wait.
    """
    suffix = "" if encoding == FILES else f"-{encoding}"
    home = root / f"{builder_class.name}-{FORMAT}-{builder_class.fingerprint(source)}{suffix}"
    data_dir = _data_dir(builder_class, home)
    storage.make_directory(home)
    # In a bucket a lock is dear, and needless where all is there: `found.json` comes last.
    found = built.read(data_dir) if storage.is_remote(home) else None
    if found is None:
        with locks.waiting_for(home / "lock"):
            found = built.read(data_dir)
            if found is None:
                _remove_leftovers(data_dir)
                found = _build(builder_class, source, home, encoding)
    with _quiet_tfds():
        builder = builder_class.create(source, home)
    builder.found = found
    return builder


@dataclasses.dataclass(frozen=True)
class BuiltSet:
    """A data set that a cache holds.

    Attributes:
      home: its directory in the cache.
      data_dir: that of its records.
      found: what is kept beside them.
    """

    home: Path
    data_dir: Path
    found: Found

    def describe(self) -> str:
        """A line to tell it from others by."""
        encoding = "" if self.found.encoding == FILES else f", encoding {self.found.encoding}"
        origin = self.found.source or "no directory"
        return f"{self.found.digest}: from {origin}{encoding}, in {self.home}"


def by_name(builder_class: type[SegmentationBuilder], root: Path, digest: str) -> BuiltSet:
    """The data set of a name in a cache, which is opened without its source.

    Args:
      builder_class: of the data set.
      root: the cache.
      digest: of the one that is wanted, or how it begins; empty for the only one.

    Raises:
      ValueError: there is none, or several; the message lists what there is.
    """
    there = _all_of(builder_class, root)
    chosen = {each.found.digest: each for each in there if each.found.digest.startswith(digest)}
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    listed = "".join(f"\n  {each.describe()}" for each in there)
    name = builder_class.name
    if chosen:
        raise ValueError(
            f"data.dir is empty, and data.cache_dir={root} holds several data sets {name}; name the"
            f" digest of one as data.built:{listed}"
        )
    wanted = f" with data.built={digest}" if digest else ""
    raise ValueError(
        f"{name} is built from a directory, and data.cache_dir={root} holds none{wanted}: pass"
        " --config.data.dir=DIR, or name the cache that `python main.py build-data` filled. The top"
        f" of {builder_class.__module__.replace('.', '/')}.py says where to get it." + listed
    )


def opened(builder_class: type[SegmentationBuilder], built_set: BuiltSet) -> SegmentationBuilder:
    """The builder of a data set that is there, ready to read."""
    with _quiet_tfds():
        builder = builder_class.create(built_set.data_dir, built_set.home)
    builder.found, builder.is_sourceless = built_set.found, True
    return builder


def _all_of(builder_class: type[SegmentationBuilder], root: Path) -> list[BuiltSet]:
    """Those that are whole, and have a digest, as those of earlier versions do not."""
    there = []
    for name in storage.names(root, f"{builder_class.name}-{FORMAT}-"):
        data_dir = _data_dir(builder_class, root / name)
        found = built.read(data_dir)
        if found is not None and found.digest:
            there.append(BuiltSet(root / name, data_dir, found))
    return there


def _data_dir(builder_class: type[SegmentationBuilder], home: Path) -> Path:
    return home / builder_class.name / str(builder_class.VERSION)


def _build(
    builder_class: type[SegmentationBuilder], source: Path | None, home: Path, encoding: str
) -> Found:
    """Builds the data set; for a bucket first on this machine: its files cannot grow there."""
    if not storage.is_remote(home):
        return _build_here(builder_class, source, home, encoding)
    with tempfile.TemporaryDirectory(prefix="hmsa-build-") as scratch:
        found = _build_here(builder_class, source, Path(scratch), encoding)
        tell(f"Copying {builder_class.name} to {home}.")
        here, there = (_data_dir(builder_class, place) for place in (Path(scratch), home))
        storage.upload_tree(here, there, last=built.NAME)
    return found


def _build_here(
    builder_class: type[SegmentationBuilder], source: Path | None, home: Path, encoding: str
) -> Found:
    data_dir = _data_dir(builder_class, home)
    with _quiet_tfds():
        builder = builder_class.create(source, home)
        builder.encoding = encoding
        # TFDS writes to a folder of another name and renames it when all is written.
        builder.download_and_prepare()
    for path in builder_class.side_files(source):
        (data_dir / path.name).write_bytes(path.read_bytes())
    heads.write(data_dir, builder.heads)
    origin = "" if source is None else str(source)
    found = dataclasses.replace(builder.found, source=origin, encoding=encoding)
    built.write(data_dir, found)
    return found


def _remove_leftovers(data_dir: Path) -> None:
    """Removes what a killed build left behind, and what was damaged; nobody else is writing it."""
    for name in storage.names(data_dir.parent, "incomplete."):
        storage.remove_tree(data_dir.parent / name)
    if data_dir.exists():
        stderr.print(f"{data_dir} is damaged; it is built anew.", soft_wrap=True)
        storage.remove_tree(data_dir)


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
