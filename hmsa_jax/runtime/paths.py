"""From what a user writes to a path on this machine."""

import pathlib
import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_path(text: str, name: str) -> pathlib.Path:
    """The path that a user names, with ~ expanded.

    Args:
      text: as the user wrote it.
      name: of the flag or field, as the user spells it, such as --workdir or data.dir.

    Raises:
      ValueError: `text` can be no path of this machine.

    >>> local_path("gs://bucket/run", "--workdir")
    Traceback (most recent call last):
    ValueError: --workdir is gs://bucket/run: gs:// is remote storage, and only local paths work;...
    """
    if not text:
        raise ValueError(f"{name} is empty; name a path")
    if scheme := _SCHEME.match(text):
        raise ValueError(
            f"{name} is {text}: {scheme[0]} is remote storage, and only local paths work; name a"
            " path on this machine (a mounted bucket will do)"
        )
    if "\0" in text:
        raise ValueError(f"{name} is {text!r}: no path holds a NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {text!r}: only names in UTF-8 work; rename it") from None
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{name} is {text}: the home directory is not known; write the path out"
        ) from None
