"""The files below a folder: those that a data set takes, and those that it leaves out."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.files import File

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LABEL_SUFFIXES = (".png",)

# Why a file is left out.
HIDDEN = "hidden"
OTHER_NAME = "of another suffix or name"
SPECIAL = "no file and no folder, but a pipe, socket or device"
LOOP = "a link to a folder around it"
EMPTY = "an empty folder with the name of a file"

_SHOWN = 5  # of the files left out for a reason


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Something that lies among the files of a data set and is none of them.

    Attributes:
      file: which one; it is never opened.
      reason: one of those of this module.
    """

    file: File
    reason: str


def named_files(
    folder: Path, suffixes: Iterable[str]
) -> tuple[list[tuple[str, File]], list[LeftOut]]:
    """The files below a folder, named by their path in it without suffix, as a `Listing` has them.

    Args:
      folder: it may be missing.
      suffixes: which files, in lower case.

    Returns:
      (name, file) in the order of the paths, and what is left out.

    Raises:
      PermissionError: a folder may not be read.
    """
    found, left_out = [], []
    for item in walk(folder):
        if isinstance(item, LeftOut):
            left_out.append(item)
        elif item.suffix.lower() in suffixes:
            name = item.relative_to(folder).with_suffix("").as_posix()
            found.append((name, File(item)))
        else:
            left_out.append(LeftOut(File(item), OTHER_NAME))
    return found, left_out


def describe(left_out: list[LeftOut]) -> str:
    """'3 left out, of another suffix or name: a.tif, b.tif and 1 more; ...'; empty for nothing."""
    texts = []
    for reason in dict.fromkeys(item.reason for item in left_out):
        files = [str(item.file) for item in left_out if item.reason == reason]
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        texts.append(f"{len(files)} left out, {reason}: {', '.join(files[:_SHOWN])}{more}")
    return "; ".join(texts)


def walk(folder: Path) -> Iterator[Path | LeftOut]:
    """Yields all that is below a folder, links followed, in the order of the paths.

    Args:
      folder: it may be missing.

    Yields:
      A path of each file, and of each link that leads nowhere, which then cannot be read. As
      `LeftOut`: what is hidden, without what a hidden folder holds; what is no file, as an empty
      folder with a suffix; and links to a folder that they lie in.

    Raises:
      PermissionError: a folder may not be read.
    """
    if folder.is_dir():
        yield from _walk(folder, frozenset(map(_identity, folder.resolve().parents)))


def _walk(folder: Path, around: frozenset[tuple[int, int]]) -> Iterator[Path | LeftOut]:
    here = _identity(folder)
    if here in around:
        yield LeftOut(File(folder), LOOP)
        return
    for path, is_folder, is_special in entries(folder):
        if path.name.startswith("."):
            yield LeftOut(File(path), HIDDEN)
        elif is_folder and path.suffix and not any(entries(path)):
            yield LeftOut(File(path), EMPTY)
        elif is_folder:
            yield from _walk(path, around | {here})
        elif is_special:
            yield LeftOut(File(path), SPECIAL)
        else:
            yield path


def entries(folder: Path) -> list[tuple[Path, bool, bool]]:
    """What a folder holds, by name.

    Returns:
      (path, whether it is a folder, whether it is neither a folder nor a file); a link is what it
      leads to.

    Raises:
      PermissionError: the folder may not be read.
    """
    try:
        with os.scandir(folder) as found:
            return [
                (Path(entry.path), *_kind(entry))
                for entry in sorted(found, key=lambda entry: entry.name)
            ]
    except PermissionError as error:
        raise PermissionError(
            f"{File(folder)}: this folder may not be read; allow it (chmod u+rx), or move it away"
        ) from error


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _kind(entry: os.DirEntry) -> tuple[bool, bool]:
    """Whether it is a folder, and whether it is neither that nor a file."""
    try:
        if entry.is_dir() or entry.is_file():
            return entry.is_dir(), False
        entry.stat()
    except PermissionError:
        raise
    except OSError:  # a link that leads nowhere, or to itself
        return False, False
    return False, True
