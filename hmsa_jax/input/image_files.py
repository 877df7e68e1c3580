"""Images without labels, as a source of records: files that a user names, and parts of a source."""

import collections
import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from data.files import File, is_utf8
from data.tree import HIDDEN, IMAGE_SUFFIXES, OTHER_NAME, LeftOut, describe, named_files, walk
from hmsa_jax.input import decoding
from hmsa_jax.input.source import Source, head
from hmsa_jax.runtime import storage

_SHOWN = 5  # of names in an error


class ImageFiles(Sequence):
    """Image files in the order of their paths.

    A record holds 'image', the bytes of a file, and 'id', its path in a directory without suffix.

    Attributes:
      left_out: what lies beside them, in words; empty for nothing.
      root: the directory whose folders are looked through; None for files that are named.

    Args:
      files: ids and files.
      left_out: see above.
      root: see above.

    Raises:
      ValueError: two images have the same id, or a name is not UTF-8.
    """

    def __init__(self, files: list[tuple[str, File]], left_out: str = "", root: Path | None = None):
        self._files = files
        self.left_out = left_out
        self.root = root
        _check_names(files)

    @classmethod
    def below(cls, directory: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> "ImageFiles":
        """All below a directory, links followed.

        Args:
          directory: where the images lie, in folders or not.
          suffixes: of the files that are images, in lower case.

        Raises:
          FileNotFoundError: there is no such directory, or no image in it.
          ValueError: as above.
          PermissionError: a folder may not be read.
        """
        if not directory.is_dir():
            raise FileNotFoundError(f"{directory}: expected a directory of images")
        list_files = _named_objects if storage.is_remote(directory) else named_files
        files, left_out = list_files(directory, suffixes)
        words = describe(left_out)
        if not files:
            beside = f" ({words})" if left_out else ""
            raise FileNotFoundError(
                f"{directory}: expected images ({', '.join(suffixes)}) in it, found none{beside}"
            )
        return cls(files, words, directory)

    @classmethod
    def matching(cls, pattern: str | Path, suffixes: Iterable[str]) -> "ImageFiles":
        """A file, all below a directory, or the files that a pattern like `shots/**/*.png` matches.

        What exists is itself, whatever characters its name has. The ids of a pattern's files are
        their paths below its last folder without `*`, `?` or `[`.

        Args:
          pattern: as it was typed; or a path in a bucket.
          suffixes: of the files below a directory; a file that is named may have any.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError, PermissionError: as above.
        """
        path = Path(pattern) if isinstance(pattern, str) else pattern
        if path.is_dir():
            return cls.below(path, suffixes)
        if storage.is_remote(path):
            files = [path] if path.exists() else storage.matching(path)
        elif path.exists() or path.is_symlink():
            return cls([(path.stem, File(path))])
        else:
            found = sorted(_matching(path))
            files = [path for path in found if path.is_file() or path.is_symlink()]
        if not files:
            raise FileNotFoundError(
                f"{pattern}: there is no such file or directory, and no file whose name matches"
            )
        root = _fixed_part(path)
        named = [(p.relative_to(root).with_suffix("").as_posix(), File(p)) for p in files]
        return cls(named, root=root if "**" in str(pattern) else None)

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


def id_of(source: Source, index: int) -> str:
    """The id of an image, without reading it where it is a file or its head is kept."""
    if isinstance(source, ImageFiles):
        return source.id(index)
    return head(source, index)["id"]


def ids_of(source: Source) -> set[str]:
    """The ids of all images."""
    return {id_of(source, index) for index in range(len(source))}


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

    def __getitem__(self, index: int) -> decoding.Record:
        return self._source[self._indices[index]]

    def path(self, index: int) -> Path | None:
        """Where the image of a record lies, if it is a file."""
        if isinstance(self._source, ImageFiles):
            return self._source.path(self._indices[index])
        return None

    def describe(self, errors: Mapping[int, ValueError]) -> list[str]:
        """A line for each record that cannot be read, with its file if there is one, and why."""
        lines = []
        for index, error in sorted(errors.items()):
            path, cause = self.path(index), error.__cause__
            # What names the record says why in a ValueError; what a library says is no reason.
            reason = cause if isinstance(cause, ValueError) else error
            lines.append(f"{path}: {reason}" if path else str(error))
        return lines


def _named_objects(
    directory: Path, suffixes: Iterable[str]
) -> tuple[list[tuple[str, File]], list[LeftOut]]:
    """As `tree.named_files`, of a directory in a bucket."""
    found, left_out = [], []
    for name in storage.files_below(directory):
        file, path = File(directory / name), PurePosixPath(name)
        if any(part.startswith(".") for part in path.parts):
            left_out.append(LeftOut(file, HIDDEN))
        elif path.suffix.lower() not in suffixes:
            left_out.append(LeftOut(file, OTHER_NAME))
        else:
            found.append((path.with_suffix("").as_posix(), file))
    return found, left_out


def _matching(pattern: Path) -> set[Path]:
    """What a pattern matches, as `glob` has it; a link to a folder that it lies in is not followed.

    Raises:
      PermissionError: a folder may not be read.
    """
    if "**" not in pattern.parts:
        return set(map(Path, glob.glob(str(pattern))))  # noqa: PTH207 (of Path takes no root)
    first = pattern.parts.index("**")
    rest = pattern.parts[first + 1 :] or ("*",)
    found: set[Path] = set()
    for top in _matching(Path(*pattern.parts[:first])) if first else {Path()}:
        files = (path.relative_to(top) for path in walk(top) if isinstance(path, Path))
        folders = {top} | {top / folder for path in files for folder in path.parents}
        for folder in folders:
            found |= _matching(Path(glob.escape(str(folder)), *rest))
    return found


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before the first that has a character of patterns."""
    fixed = type(pattern)(pattern.anchor)
    for part in pattern.parts[len(fixed.parts) : -1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _check_names(named: list[tuple[str, File]]) -> None:
    strange = [str(file) for name, file in named if not is_utf8(name)]
    if strange:
        raise ValueError(
            f"{len(strange)} images have names that are not UTF-8: {', '.join(strange[:_SHOWN])};"
            " rename them"
        )
    counts = collections.Counter(name for name, _ in named)
    twice = [str(file) for name, file in named if counts[name] > 1]
    if twice:
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        raise ValueError(
            f"images have the same name with other suffixes: {', '.join(twice[:_SHOWN])}{more};"
            " what is made of an image is named by it, so rename or remove all but one"
        )
