"""A directory of images without labels, as a source of records."""

import collections
from collections.abc import Sequence
from pathlib import Path

from data.files import File, is_utf8
from data.tree import IMAGE_SUFFIXES, describe, named_files
from hmsa_jax.input import decoding


class ImageDirectory(Sequence):
    """The JPEG and PNG files below a directory, links followed, in the order of their paths.

    A record holds 'image', the bytes of a file, and 'id', its path in the directory without suffix.

    Attributes:
      left_out: what lies there besides, in words; empty for nothing.

    Args:
      directory: where the images lie, in folders or not.

    Raises:
      FileNotFoundError: there is no such directory, or no image in it.
      ValueError: two images have the same id, or a name is not UTF-8.
      PermissionError: a folder may not be read.
    """

    def __init__(self, directory: Path):
        if not directory.is_dir():
            raise FileNotFoundError(f"{directory}: expected a directory of images")
        self._files, left_out = named_files(directory, IMAGE_SUFFIXES)
        self.left_out = describe(left_out)
        if not self._files:
            beside = f" ({self.left_out})" if left_out else ""
            raise FileNotFoundError(
                f"{directory}: expected images ({', '.join(IMAGE_SUFFIXES)}) in it, found none"
                f"{beside}"
            )
        _check_names(directory, self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> decoding.Record:  # type: ignore[override]
        name, file = self._files[index]
        return {"image": file.read(), "id": name}

    def id(self, index: int) -> str:
        """The id of an image, without reading it."""
        return self._files[index][0]

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self._files[index][1].path


def _check_names(directory: Path, named: list[tuple[str, File]]) -> None:
    strange = [str(file) for name, file in named if not is_utf8(name)]
    if strange:
        raise ValueError(
            f"{directory}: {len(strange)} images have names that are not UTF-8:"
            f" {', '.join(strange[:5])}; rename them"
        )
    counts = collections.Counter(name for name, _ in named)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"{directory}: several images are called {', '.join(twice[:5])}, with other suffixes;"
            " a label is named by its image, so rename or remove all but one"
        )
