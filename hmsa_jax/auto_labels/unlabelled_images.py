"""The images without labels that a user names."""

import collections
import contextlib
from pathlib import Path

import ml_collections

from data import registry
from hmsa_jax.input.image_files import ImageFiles, id_of
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.input.source import Source
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.progress import tell

_SHOWN = 5  # of names in an error


def open_images(
    images: str, out: Path | None, data: ml_collections.ConfigDict, flag: str = "--images"
) -> tuple[Source, str]:
    """Opens what `--images` names: a directory or, if there is none of that name, a split.

    Args:
      images: a directory, or NAME/SPLIT of a data set, which is built if it is not yet.
      out: where the labels go; None if there will be none.
      data: the group of a config. `data.dir` and `data.built` say where its own data set is, those
        of `data.pool` where another one is, unless the pool is a third; else `data.dir` does.
      flag: that named them, for errors.

    Returns:
      The images, and where they are from in words.

    Raises:
      ValueError: there is neither, `out` lies among the images, or two have the same id.
      FileNotFoundError: there are no images.
    """
    name, _, split = images.partition("/")
    directory = any_path(images, flag)
    if name in registry.names():
        if not directory.is_dir():
            return _open_split(name, split, data, flag)
        tell(
            f"{flag}={images} is the directory {directory.resolve()}, and not the data set"
            f" {name}; for that, start where there is no directory of its name."
        )
    directory = storage.absolute(directory)
    inside = None if out is None else storage.absolute(out)
    if inside is not None and directory in (inside, *inside.parents):
        raise ValueError(f"--out is {out}, inside of {flag}; name a directory elsewhere")
    source = ImageFiles.below(directory)
    if source.left_out:
        tell(f"{flag}: {source.left_out}.")
    return source, str(directory)


def _open_split(
    name: str, split: str, data: ml_collections.ConfigDict, flag: str
) -> tuple[Source, str]:
    if not split:
        raise ValueError(f"{flag} is {name}; expected a split, like {name}/train")
    directory, digest = _place_of(name, data)
    directory = directory if registry.needs_directory(name) else ""
    with contextlib.nullcontext() if name == data.name else registry.naming_the_pool():
        builder = registry.prepare(name, directory or None, data.cache_dir, digest, data.encoding)
    tell_remarks(builder)
    source = registry.open_source(builder, split)
    _check_ids(source, f"{flag}={name}/{split}")
    return source, f"{name}/{split}" + (f" of {directory}" if directory else "")


def _place_of(name: str, data: ml_collections.ConfigDict) -> tuple[str, str]:
    """The directory and the digest of a data set, empty where no field says one."""
    if name == data.name:
        return data.dir, data.built
    if data.pool.name in (name, ""):
        return data.pool.dir or data.dir, data.pool.built
    return data.dir, ""


def _check_ids(source: Source, flag: str) -> None:
    """Raises ValueError for images of one id, as those of several splits may be."""
    counts = collections.Counter(id_of(source, index) for index in range(len(source)))
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        shown = ", ".join(repeated[:_SHOWN]) + (", ..." if len(repeated) > _SHOWN else "")
        raise ValueError(
            f"{flag} has several images of a name ({shown}), and labels go by names; take one"
            " split, or parts that do not overlap, at a time"
        )
