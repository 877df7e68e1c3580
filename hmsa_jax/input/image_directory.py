"""A directory of images without labels, as a source of records."""

import collections
from collections.abc import Sequence
from pathlib import Path

from data.directory import IMAGE_SUFFIXES, named_files
from hmsa_jax.input import decoding


class ImageDirectory(Sequence):
    """The JPEG and PNG files below a directory, in the order of their paths.

    A record holds 'image', the bytes of a file, and 'id', its path in the directory without suffix.

    Args:
      directory: where the images lie, in folders or not.

    Raises:
      FileNotFoundError: there is no such directory, or no image in it.
      ValueError: two images have the same id.
    """

    def __init__(self, directory: Path):
        if not directory.is_dir():
            raise FileNotFoundError(f"{directory}: expected a directory of images")
        self._files = named_files(directory, IMAGE_SUFFIXES)
        if not self._files:
            raise FileNotFoundError(
                f"{directory}: expected images ({', '.join(IMAGE_SUFFIXES)}) in it, found none"
            )
        counts = collections.Counter(name for name, _ in self._files)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f"{directory}: several images are called {', '.join(twice[:5])}, with other"
                " suffixes; a label is named by its image, so rename or remove all but one"
            )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> decoding.Record:
        name, file = self._files[index]
        return {"image": file.read(), "id": name}

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self._files[index][1].path
