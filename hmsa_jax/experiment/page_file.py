"""The file of a page: that it can be written, and who made it."""

import pathlib

from hmsa_jax.runtime import files, storage, versions
from hmsa_jax.runtime.progress import tell

_SUFFIXES = (".html", ".htm")


def check(path: pathlib.Path, flag: str) -> None:
    """Makes sure that a page can be written, before the work that it shows.

    Args:
      path: of the page.
      flag: that names it.

    Raises:
      ValueError: it is a directory, has a name of another kind of file, or lies where nothing can
        be written.
    """
    if not storage.is_remote(path) and path.is_dir():
        raise ValueError(f"{flag} is {path}, a directory; name a file, like {path / 'page.html'}")
    storage.check_place(path.parent, flag)
    if path.suffix.lower() not in _SUFFIXES:  # it may be a picture, which it would replace
        raise ValueError(f"{flag} is {path}, which is no name of a page; name one like page.html")


def made_by(command: str) -> str:
    """The line at the end of a page that a command makes."""
    made = ", ".join(f"{name} {version}" for name, version in versions.of_all().items())
    return f"Made by `{command}` of hmsa_jax with {made}."


def write(path: pathlib.Path, text: str, what: str) -> None:
    """Writes the text of a page as a whole, and tells where it is.

    Args:
      path: of the page.
      text: from `page.render`.
      what: it is the page of.
    """
    data = text.encode(errors="backslashreplace")  # a name may hold bytes that are no text
    files.store(path, data)
    tell(f"The page of {what}: {path} ({len(data) / 1e6:.1f} MB)")
