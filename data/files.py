"""Files of a source directory: on disk, or inside a zip archive that lies there."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any
from unicodedata import category

from hmsa_jax.runtime import storage

# What reading a damaged file or archive may raise; RuntimeError: a member asks for a password.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)

_MOST_BYTES = 2**31 - 1  # of a file; a record holds no more
_MOST_JSON = 2**20  # bytes; hundreds of classes take a hundredth of it

_NO_TEXT = ("Cc", "Cs")  # control characters, and those that stand for bytes that are not UTF-8

# An archive counts its open members, and miscounts where two threads open or close at once.
_COUNTING = threading.Lock()


@dataclasses.dataclass(frozen=True, order=True)
class File:
    """A file that is read but never written.

    Attributes:
      path: of the file, or of the archive that holds it.
      member: its name in the archive; empty for a file on disk.
    """

    path: Path
    member: str = ""

    def __str__(self) -> str:
        """Fit to be shown, on one line: what is no text is written as Python writes it."""
        text = f"{self.path}/{self.member}" if self.member else str(self.path)
        return "".join(ascii(c)[1:-1] if category(c) in _NO_TEXT else c for c in text)

    @property
    def name(self) -> str:
        """The name without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Opens the file for a with statement; of an archive, only what is read is unpacked.

        Raises:
          One of `READ_ERRORS`: it cannot be opened, or is too large for a record.
        """
        if not self.member:
            if storage.is_remote(self.path):
                yield io.BytesIO(storage.read(self.path))
                return
            _check_size(self.path.stat().st_size)
            with self.path.open("rb") as file:
                yield file
            return
        with _COUNTING:
            archive = _archive(self.path)
            _check_size(archive.getinfo(self.member).file_size)
            stream = archive.open(self.member)
        try:
            yield stream
        finally:
            with _COUNTING:
                stream.close()

    def read(self) -> bytes:
        """All bytes; those of an archive's member are checked against its checksum.

        Raises:
          ValueError: if they cannot be read; the message names the file.
        """
        try:
            with self.open() as stream:
                return stream.read()
        except READ_ERRORS as error:
            raise ValueError(f"{self} cannot be read ({error}); replace the file.") from error


def is_utf8(name: str) -> bool:
    """Whether the bytes of a file name were text; Python stands in for those that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def members(path: Path) -> list[File]:
    """The files in a zip archive.

    Raises:
      ValueError: if it is no whole zip archive.
    """
    try:
        names = _archive(path).namelist()
    except READ_ERRORS as error:
        raise ValueError(f"{path}: expected a whole zip archive ({error}); fetch it again.") from (
            error
        )
    return [File(path, name) for name in names if not name.endswith("/")]


def fingerprint(directory: Path, paths: Iterable[Path]) -> str:
    """Hash of a directory's path and of path, size and time of the files that are read from it.

    Args:
      directory: the directory that the user names.
      paths: files in it, in any order.

    Returns:
      16 hexadecimal digits.
    """
    directory = Path(directory).resolve()
    digest = hashlib.sha256(ascii(str(directory)).encode())
    for path in sorted(set(paths)):
        try:
            stat = path.stat()
        except OSError:  # a link that leads nowhere, of which the check will tell
            continue
        digest.update(ascii((str(path), stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def read_json(path: Path, hint: str) -> Any:
    """Reads a small JSON file.

    Args:
      path: of the file, in UTF-8, with or without a byte order mark.
      hint: what to say of a file that is no JSON.

    Returns:
      What it holds.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no JSON, or larger or deeper than any list of classes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file. {hint}")
    with path.open("rb") as stream:
        data = stream.read(_MOST_JSON + 1)
    if len(data) > _MOST_JSON:
        raise ValueError(f"{path}: expected at most {_MOST_JSON} bytes of JSON. {hint}")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{path}: expected JSON, found it nested too deeply. {hint}") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON in UTF-8 ({error}). {hint}") from error


def _check_size(size: int) -> None:
    if size > _MOST_BYTES:
        raise OSError(f"it has {size} bytes, expected at most {_MOST_BYTES}")


def _archive(path: Path) -> zipfile.ZipFile:
    stat = path.stat()
    return _open_archive(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _open_archive(path: Path, size: int, mtime: int) -> zipfile.ZipFile:
    """Kept open, for the table of contents of a large archive takes a while to read."""
    del size, mtime  # they open an archive anew that was replaced
    return zipfile.ZipFile(path)
