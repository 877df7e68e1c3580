"""The images without labels that a user names."""

from pathlib import Path

import ml_collections

from data import registry
from hmsa_jax.input.image_files import ImageFiles
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.input.source import Source
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.paths import any_path
from hmsa_jax.runtime.progress import tell


def open_images(
    images: str, out: Path | None, config: ml_collections.ConfigDict, flag: str = "--images"
) -> tuple[Source, str]:
    """Opens what `--images` names: a directory or, if there is none of that name, a split.

    Args:
      images: a directory, or NAME/SPLIT of a data set, which is built if it is not yet.
      out: where the labels go; None if there will be none.
      config: its `data.dir` and `data.cache_dir` are those of the data set.
      flag: that named them, for errors.

    Returns:
      The images, and where they are from in words.

    Raises:
      ValueError: there is neither, or `out` lies among the images.
      FileNotFoundError: there are no images.
    """
    name, _, split = images.partition("/")
    directory = any_path(images, flag)
    if name in registry.names():
        if not directory.is_dir():
            return _open_split(name, split, config, flag)
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
    name: str, split: str, config: ml_collections.ConfigDict, flag: str
) -> tuple[Source, str]:
    if not split:
        raise ValueError(f"{flag} is {name}; expected a split, like {name}/train")
    data = config.data
    directory = data.dir or None if registry.needs_directory(name) else None
    digest = data.built if name == data.name else ""
    builder = registry.prepare(name, directory, data.cache_dir, digest, data.encoding)
    tell_remarks(builder)
    origin = f"{name}/{split}" + (f" of {directory}" if directory else "")
    return registry.open_source(builder, split), origin
