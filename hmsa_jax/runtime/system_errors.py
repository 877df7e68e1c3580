"""Errors of the operating system, in words that help a user."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Iterator

_REMEDIES = {
    errno.EACCES: "name a place that this user may read and write, or change its permissions",
    errno.EPERM: "name a place that this user may read and write, or change its permissions",
    errno.EROFS: "name a place that may be written to",
    errno.ENOSPC: "free some space there, and give the same command again",
    errno.EDQUOT: "free some space there, and give the same command again",
    errno.EFBIG: "raise the largest size of a file (ulimit -f), and give the same command again",
    errno.EMFILE: "raise the number of files that may be open (ulimit -n)",
    errno.ENFILE: "raise the number of files that may be open on this machine",
    errno.ENOTDIR: "a part of the path is a file; name another path",
    errno.EISDIR: "it is a directory; name a file",
    errno.EEXIST: "it is no directory; name another path",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "links lead in a circle there; name another path",
}
# How tensorstore and array_record, which raise ValueError and RuntimeError, name the file.
_PATH = re.compile(r'"(/[^"\n]*)"|(?:writing|reading) (/.*?);', re.DOTALL)


def of_system(error: BaseException) -> OSError | None:
    """The error of the system that an error is, or that a library's message quotes; else None."""
    if isinstance(error, OSError):
        if error.errno is not None:
            return error
        return None if error.__cause__ is None else of_system(error.__cause__)
    text = str(error)
    for number in _REMEDIES:
        if os.strerror(number) in text and (path := _PATH.search(text)):
            return OSError(number, os.strerror(number), path[1] or path[2])
    return None


def describe(error: OSError) -> str:
    """An error of the system in one line: on which path, what, and what to do."""
    where = f"{error.filename}: " if error.filename is not None else ""
    number = error.errno or 0
    what = error.strerror or os.strerror(number)
    remedy = _REMEDIES.get(number)
    return f"{where}{what}" + (f"; {remedy}" if remedy else "")


@contextlib.contextmanager
def named(path: pathlib.Path, instead: pathlib.Path | None = None) -> Iterator[None]:
    """Adds the name of a file to errors that lack it, as errors of a write do.

    Args:
      path: the file that a user knows.
      instead: the file that is written in its place; an error that names it gets `path` instead.
    """
    try:
        yield
    except OSError as error:
        unknown = error.filename is None or os.fspath(error.filename) == str(instead)
        if error.errno is not None and unknown:
            error.filename = str(path)
            error.filename2 = None
        raise
