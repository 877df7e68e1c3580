"""The images that a user names for auto-labelling: where they are, and which are left to do."""

from collections.abc import Mapping
from pathlib import Path

import ml_collections

from data import registry
from hmsa_jax.input.decoding import Record
from hmsa_jax.input.image_directory import ImageDirectory
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.input.source import Source
from hmsa_jax.runtime.paths import local_path
from hmsa_jax.runtime.progress import tell


def open_images(images: str, out: Path, config: ml_collections.ConfigDict) -> tuple[Source, str]:
    """Opens what `--images` names: a directory or, if there is none of that name, a split.

    Args:
      images: a directory, or NAME/SPLIT of a data set, which is built if it is not yet.
      out: where the labels go.
      config: its `data.dir` and `data.cache_dir` are those of the data set.

    Returns:
      The images, and where they are from in words.

    Raises:
      ValueError: there is neither, or `out` lies among the images.
      FileNotFoundError: there are no images.
    """
    name, _, split = images.partition("/")
    directory = local_path(images, "--images")
    if name in registry.names():
        if not directory.is_dir():
            return _open_split(name, split, config)
        tell(
            f"--images={images} is the directory {directory.resolve()}, and not the data set"
            f" {name}; for that, start where there is no directory of its name."
        )
    directory = directory.resolve()
    if directory in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"--out is {out}, inside of --images; name a directory elsewhere")
    source = ImageDirectory(directory)
    if source.left_out:
        tell(f"--images: {source.left_out}.")
    return source, str(directory)


def _open_split(name: str, split: str, config: ml_collections.ConfigDict) -> tuple[Source, str]:
    if not split:
        raise ValueError(f"--images is {name}; expected a split, like {name}/train")
    directory = config.data.dir if registry.get(name, config.data.dir).needs_dir else None
    builder = registry.prepare(name, directory, cache_dir=config.data.cache_dir)
    tell_remarks(builder)
    origin = f"{name}/{split}" + (f" of {directory}" if directory else "")
    return registry.open_source(builder, split), origin


def id_of(source: Source, index: int) -> str:
    """The id of an image, without reading it where it is a file."""
    return source.id(index) if isinstance(source, ImageDirectory) else source[index]["id"]


class Selection:
    """Some records of a source.

    Args:
      source: all records.
      indices: the numbers of those that are selected.
    """

    def __init__(self, source: Source, indices: list[int]):
        self._source = source
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[self._indices[index]]

    def path(self, index: int) -> Path | None:
        """Where the image of a record lies, if it is a file."""
        if isinstance(self._source, ImageDirectory):
            return self._source.path(self._indices[index])
        return None

    def describe(self, errors: Mapping[int, ValueError]) -> list[str]:
        """A line for each record that cannot be read, with its file if there is one, and why."""
        lines = []
        for index, error in sorted(errors.items()):
            path = self.path(index)
            lines.append(f"{path}: {error.__cause__ or error}" if path else str(error))
        return lines
