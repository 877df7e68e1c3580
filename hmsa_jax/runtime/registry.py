"""Entries of one kind, each by its name."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """What there is of a kind; others may add to it.

    Args:
      kind: what an entry is, for errors.
      entries: those to begin with.

    >>> shapes = Registry("shape", {"circle": 1})
    >>> shapes.register("square", 4)
    >>> shapes.names(), shapes.get("square")
    (('circle', 'square'), 4)
    >>> shapes.get("squares")
    Traceback (most recent call last):
    ValueError: there is no shape 'squares'; did you mean 'square'?
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]):
        self._kind = kind
        self._entries = dict(entries)

    def register(self, name: str, entry: Entry) -> None:
        """Adds an entry; ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"there is a {self._kind} {name!r} already")
        self._entries[name] = entry

    @contextlib.contextmanager
    def holding(self, name: str, entry: Entry) -> Iterator[None]:
        """Has an entry while the body runs; it may hide another one of its name."""
        before = dict(self._entries)
        self._entries[name] = entry
        try:
            yield
        finally:
            self._entries = before

    def get(self, name: str) -> Entry:
        """The entry of a name; ValueError, with the name most like it, if there is none."""
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {self.names()}"
            raise ValueError(f"there is no {self._kind} {name!r}; {hint}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """The names, in the order in which the entries came."""
        return tuple(self._entries)
