"""Files of a source directory: on disk, or inside a zip archive that lies there."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

# What reading a damaged file or archive may raise; RuntimeError: a member asks for a password.
READ_ERRORS = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)

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
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The name without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Opens the file for a with statement; of an archive, only what is read is unpacked."""
        if not self.member:
            with self.path.open("rb") as stream:
                yield stream
            return
        with _COUNTING:
            stream = _archive(self.path).open(self.member)
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

    def tail(self, count: int) -> bytes | None:
        """The last bytes; None in an archive, where they cost as much as all."""
        if self.member:
            return None
        with self.path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, io.SEEK_END) - count))
            return stream.read()


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
    digest = hashlib.sha256(str(directory).encode())
    for path in sorted(set(paths)):
        stat = path.stat()
        digest.update(repr((str(path), stat.st_size, stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def _archive(path: Path) -> zipfile.ZipFile:
    stat = path.stat()
    return _open_archive(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _open_archive(path: Path, size: int, mtime: int) -> zipfile.ZipFile:
    """Kept open, for the table of contents of a large archive takes a while to read."""
    del size, mtime  # they open an archive anew that was replaced
    return zipfile.ZipFile(path)
