"""Paths in a bucket of Google Cloud Storage, beside those of this machine.

A path in a bucket is one of etils.epath, with the methods of `pathlib`. But a bucket holds objects
only: it has no directories, no renaming, no links, no locks, and no file that grows. What is not
alike is done here, in `runtime.files` and in `runtime.locks`, for both kinds of paths.
"""

import functools
import importlib.util
import logging
import os
import pathlib
import re
import secrets
import shutil
from typing import Any

from etils import epath

SCHEME = "gs://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
# What gcsfs, fsspec or tensorstore take for something else.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\#]|^\.\.?(?=/|$)|(?<=/)\.\.?(?=/|$)|[\ud800-\udfff]")
_MAGIC = re.compile(r"[*?\[\]]")
_PROBE = re.compile(r"\.[0-9a-f]{8}\.probe")  # of another process, which `check_place` removes
_LIBRARIES = ("gcsfs", "fsspec", "google", "aiohttp", "requests")  # whose errors are no OSError


def parse(text: str, name: str, *, is_pattern: bool = False) -> pathlib.Path:
    """The path in a bucket that a user names; nothing is asked of the bucket.

    Args:
      text: gs://BUCKET or gs://BUCKET/PATH.
      name: of the flag or field.
      is_pattern: whether `*`, `?`, `[` and `]` may be in it.

    Raises:
      ValueError: it is none, or what reads buckets is not installed.
    """
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"{name} is {text!a}: {bucket!a} is no name of a bucket; expected gs://BUCKET/PATH"
        )
    if unsafe := _UNSAFE.search(key) or (None if is_pattern else _MAGIC.search(key)):
        raise ValueError(
            f"{name} is {text!a}: {unsafe[0]!a} means something else in the path of a bucket; name"
            " another path"
        )
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{name} is {text}: gs:// needs gcsfs; pip install -e .[gcs]")
    _file_system()
    return epath.Path(text)


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path lies in a bucket."""
    return os.fspath(path).startswith(SCHEME)


def absolute(path: pathlib.Path) -> pathlib.Path:
    """The path that means the same in whatever directory a process works, links resolved."""
    return path if is_remote(path) else path.resolve()


def check_place(path: pathlib.Path, name: str) -> None:
    """Makes sure that a path can be made and written to, before the work of an hour is lost.

    In a bucket an object is written and removed, since only that tells.

    Args:
      path: of a directory; it may be missing.
      name: of the flag.

    Raises:
      ValueError: it cannot, or there is no such bucket.
    """
    if not is_remote(path):
        place = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise ValueError(
                f"{name} is {path}, but {place} is no directory that may be written to; name"
                " another"
            )
        return
    probe = f"{path}/.{secrets.token_hex(4)}.probe"
    try:
        _file_system().pipe_file(probe, b"")
        _file_system().rm_file(probe)
    except Exception as error:  # gcsfs raises nearly anything
        reason = _reason(error)
        if isinstance(error, FileNotFoundError):
            reason = "there is no such bucket"
        raise ValueError(
            f"{name} is {path}, where nothing can be written: {reason}; docs/storage.md says what"
            " it takes"
        ) from error


def describe(error: BaseException) -> str | None:
    """A line on an error of the libraries that read buckets; None for any other."""
    is_theirs = type(error).__module__.partition(".")[0] in _LIBRARIES
    if not is_theirs and not (isinstance(error, OSError) and str(error).startswith("Forbidden: ")):
        return None
    return f"{_reason(error)}; docs/storage.md says what gs:// takes"


def make_directory(path: pathlib.Path) -> None:
    """Makes a directory and those around it, unless it is there; a bucket needs none."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def names(directory: pathlib.Path, prefix: str = "") -> list[str]:
    """The names of what lies in a directory, in order; none if it is missing.

    Args:
      directory: which one.
      prefix: what the names begin with.
    """
    if not is_remote(directory):
        found = [path.name for path in directory.iterdir()] if directory.exists() else []
        return sorted(name for name in found if name.startswith(prefix))
    try:
        found = _file_system().ls(os.fspath(directory), detail=False, prefix=prefix)
    except FileNotFoundError:
        return []
    start = os.fspath(directory).removeprefix(SCHEME)
    there = {name.rstrip("/") for name in found} - {start}
    last = (name.rpartition("/")[2] for name in there)
    return sorted(name for name in last if not _PROBE.fullmatch(name))


def files_below(directory: pathlib.Path) -> list[str]:
    """The paths in a directory of all files below it, in order; none if it is missing."""
    if not is_remote(directory):
        found = (path for path in directory.rglob("*") if path.is_file())
        return sorted(path.relative_to(directory).as_posix() for path in found)
    start = os.fspath(directory).removeprefix(SCHEME) + "/"
    below = _file_system().find(start)
    # An object whose name ends in a slash is what consoles make to show an empty folder.
    return sorted(n.removeprefix(start) for n in below if n.startswith(start) and n[-1] != "/")


def sizes(directory: pathlib.Path) -> dict[str, int]:
    """The bytes of each file in a directory, by name in order, without folders."""
    if not is_remote(directory):
        files = sorted(path for path in directory.iterdir() if path.is_file())
        return {path.name: path.stat().st_size for path in files}
    found = _file_system().ls(os.fspath(directory), detail=True)
    sized = sorted((about["name"], about["size"]) for about in found if about["type"] == "file")
    return {name.rpartition("/")[2]: size for name, size in sized if name[-1] != "/"}


def matching(pattern: pathlib.Path) -> list[pathlib.Path]:
    """The objects whose names match a pattern in a bucket, `**` any folders, in order."""
    found = _file_system().glob(os.fspath(pattern), detail=True)
    files = sorted(name for name, about in found.items() if about["type"] == "file")
    return [epath.Path(SCHEME + name) for name in files]


def modified_ns(path: pathlib.Path) -> int:
    """When a file was written, in nanoseconds."""
    if not is_remote(path):
        return path.stat().st_mtime_ns
    return int(1e9 * _file_system().modified(os.fspath(path)).timestamp())


def versions(directory: pathlib.Path, prefix: str) -> dict[str, str]:
    """The objects of a directory in a bucket whose names begin alike, and a word for their content.

    The word is another one whenever an object was written again, be it with the same bytes.
    """
    found = _file_system().find(os.fspath(directory) + "/", prefix=prefix, detail=True)
    return {name.rpartition("/")[2]: about["generation"] for name, about in found.items()}


def read(path: pathlib.Path) -> bytes:
    """All bytes of a file, by one request."""
    if not is_remote(path):
        return path.read_bytes()
    return _file_system().cat_file(os.fspath(path))


def put(path: pathlib.Path, data: bytes) -> None:
    """Writes an object as a whole: a reader sees what was there, or all of it."""
    _file_system().pipe_file(os.fspath(path), data)


def put_new(path: pathlib.Path, data: bytes) -> bool:
    """Writes an object unless there is one; of several processes one does. False if there was."""
    try:
        _file_system().pipe_file(os.fspath(path), data, mode="create")
    except FileExistsError:
        # Or the first try arrived and its answer did not: data that no other writes tell.
        return read(path) == data
    return True


def upload(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a file of this machine, of any size, to a bucket."""
    _file_system().put_file(os.fspath(source), os.fspath(target))


def upload_tree(source: pathlib.Path, target: pathlib.Path, last: str = "") -> None:
    """Copies all files below a directory of this machine to a directory in a bucket.

    Args:
      source: the directory here.
      target: the one in a bucket.
      last: path in it of the file that says that all are there, if one does.
    """
    for name in sorted(files_below(source), key=lambda name: name == last):
        upload(source / name, target / name)


def remove_tree(path: pathlib.Path) -> None:
    """Removes a directory and all below it, if it is there."""
    if not is_remote(path):
        if path.exists():
            shutil.rmtree(path)
    elif files_below(path):
        _file_system().rm(os.fspath(path), recursive=True)


def move_tree(source: pathlib.Path, target: pathlib.Path, last: str) -> None:
    """Moves a directory.

    In a bucket its objects are copied, then removed. Whenever that ends early, either source or
    target is whole, as far as one file says so.

    Args:
      source: which one.
      target: is missing.
      last: name of the file that says that a directory is whole: copied last and removed first.
    """
    if not is_remote(source):
        source.rename(target)
        return
    found = sorted(files_below(source), key=lambda name: name == last)
    for name in found:
        _file_system().cp_file(os.fspath(source / name), os.fspath(target / name))
    for name in reversed(found):
        _file_system().rm_file(os.fspath(source / name))


@functools.cache
def _file_system() -> Any:
    """What gcsfs offers beyond epath: conditions of a write, prefixes, generations."""
    # As they were tried: epath without TensorFlow, gcsfs with flat buckets. Both are read once.
    os.environ.setdefault("EPATH_USE_TF", "false")
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import fsspec

    # It logs tracebacks of errors that it raises as well.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # What was listed before may be no longer so: other processes write, too. epath asks for the
    # same file system.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return fsspec.filesystem("gcs")


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
