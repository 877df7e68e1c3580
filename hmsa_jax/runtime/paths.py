"""From what a user writes to a path: of this machine, or of a bucket of Google Cloud Storage."""

import pathlib
import re

from hmsa_jax.runtime import storage

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_IN_BUCKETS = (
    "--workdir, --images and --out of predict and autolabel, --out of report and build-data,"
    " --browse of check-data, data.cache_dir, init_from"
)


def local_path(text: str, name: str) -> pathlib.Path:
    """The path of this machine that a user names, with ~ expanded.

    Args:
      text: as the user wrote it.
      name: of the flag or field, as the user spells it, such as --config or data.dir.

    Raises:
      ValueError: `text` can be no path of this machine.

    >>> local_path("gs://bucket/a.pth", "--from")
    Traceback (most recent call last):
    ValueError: --from is gs://bucket/a.pth: only a path of this machine works here...
    """
    if not text:
        raise ValueError(f"{name} is empty; name a path")
    if scheme := _SCHEME.match(text):
        what = f"{scheme[0]} is not supported; name a path of this machine"
        if scheme[0] == storage.SCHEME:
            what = f"only a path of this machine works here (gs:// works for {_IN_BUCKETS})"
        raise ValueError(f"{name} is {text}: {what}")
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


def any_path(text: str, name: str, *, is_pattern: bool = False) -> pathlib.Path:
    """The path that a user names, of this machine or gs://BUCKET/PATH.

    Args:
      text: as the user wrote it.
      name: as for `local_path`.
      is_pattern: whether `*`, `?` and `[` in it stand for other characters.

    Returns:
      A path of this machine; or a path of etils.epath in a bucket, for which `runtime.storage` and
      `runtime.files` do what `pathlib` has and a bucket lacks.

    Raises:
      ValueError: `text` is neither, or names a bucket without the packages that read it.

    >>> any_path("s3://bucket/run", "--workdir")
    Traceback (most recent call last):
    ValueError: --workdir is s3://bucket/run: s3:// is not supported; name a path of...
    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[0] == storage.SCHEME:
        return storage.parse(text, name, is_pattern=is_pattern)
    if scheme:
        raise ValueError(
            f"{name} is {text}: {scheme[0]} is not supported; name a path of this machine or"
            " gs://BUCKET/PATH"
        )
    return local_path(text, name)
