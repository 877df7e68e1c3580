"""Sources of records: what random access to a data set is."""

import dataclasses
from typing import Protocol

from hmsa_jax.input.decoding import Record


class Source(Protocol):
    """Random access to encoded records."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


def head(source: Source, index: int) -> Record:
    """What tells id and size of a record: kept beside a built data set, else the whole record."""
    return getattr(source, "head", source.__getitem__)(index)


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedSource:
    """The records of one source, and after them those of another.

    Grain's `MapDataset.concatenate` would take a number beyond the last as one from the start.

    Attributes:
      first: the source whose records keep their numbers.
      second: the source whose record i has the number `len(first) + i` here.
    """

    first: Source
    second: Source

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Record:
        """The record of that number; the sources refuse one that is out of range."""
        if index < len(self.first):
            return self.first[index]
        return self.second[index - len(self.first)]
