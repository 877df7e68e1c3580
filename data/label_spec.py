"""What the pixel values of a data set's labels mean."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

IGNORE = 255
"""The class number of pixels that belong to no class."""


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """The classes, and how the labels name them.

    Attributes:
      names: of the classes, in the order of their train ids.
      palette: RGB of each class.
      values: what the stored labels may hold, ascending.
      train_ids: 256 bytes, stored value -> train id, 255 for what is ignored; None where the stored
        values are train ids already.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    values: tuple[int, ...]
    train_ids: bytes | None = None

    @classmethod
    def of_train_ids(cls, names: Sequence[str], palette: Sequence) -> "LabelSpec":
        """For labels that hold train ids, and 255 where there is no class."""
        return cls(tuple(names), tuple(palette), (*range(len(names)), IGNORE))

    @classmethod
    def of_raw_values(
        cls, names: Sequence[str], palette: Sequence, raw: Sequence[int], ignored: Iterable[int]
    ) -> "LabelSpec":
        """For labels that hold numbers of their own.

        Args:
          names: of the classes.
          palette: RGB of each class.
          raw: the stored value of each class, 0 to 255.
          ignored: other values that may occur.

        Returns:
          The label spec; it maps every value outside `raw` to 255.
        """
        table = bytearray([IGNORE] * 256)
        for train_id, value in enumerate(raw):
            table[value] = train_id
        values = tuple(sorted({*raw, *ignored}))
        return cls(tuple(names), tuple(palette), values, bytes(table))

    @property
    def table(self) -> bytes:
        """256 bytes: stored value -> train id."""
        if self.train_ids is not None:
            return self.train_ids
        return bytes(v if v < len(self.names) else IGNORE for v in range(256))

    @property
    def ignored_value(self) -> int:
        """A stored value that is ignored, for images that have no label."""
        return IGNORE if self.table[IGNORE] == IGNORE else self.table.index(IGNORE)

    @property
    def uncertain_value(self) -> int:
        """A stored value that is ignored, for pixels of a label: one that labels hold, if any."""
        return self.ignored_values[0] if self.ignored_values else self.ignored_value

    @property
    def ignored_values(self) -> tuple[int, ...]:
        """The stored values that belong to no class, ascending."""
        return tuple(value for value in self.values if self.table[value] == IGNORE)

    @property
    def class_values(self) -> bytes:
        """The stored value of each class."""
        return bytes(map(self.table.index, range(len(self.names))))

    def describe_values(self) -> str:
        """The values in words, like '0..10 and 255'."""
        runs: list[list[int]] = []
        for value in self.values:
            if runs and value == runs[-1][1] + 1:
                runs[-1][1] = value
            else:
                runs.append([value, value])
        texts = [str(a) if a == b else f"{a}..{b}" for a, b in runs]
        return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]


def differing_names(theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """Where two lists of classes differ in name or order, a line for each number.

    Args:
      theirs: names of the classes that the lines call 'there'.
      ours: names of those that they call 'here'.
    """
    lines = []
    for number, pair in enumerate(itertools.zip_longest(theirs, ours)):
        there, here = ("missing" if name is None else repr(name) for name in pair)
        if there != here:
            lines.append(f"class {number} is {there} there and {here} here")
    return lines


def differing_labels(theirs: LabelSpec, ours: LabelSpec) -> list[str]:
    """How the labels of equal classes differ: values, colours, ignored values; a line each.

    Args:
      theirs: what the lines call 'there'.
      ours: what they call 'here'.
    """
    lines = []
    for number, name in enumerate(ours.names):
        for what, of in (("value", "class_values"), ("colour", "palette")):
            there, here = (getattr(label_spec, of)[number] for label_spec in (theirs, ours))
            if there != here:
                lines.append(f"class {name!r}: {what} {there} there and {here} here")
    there, here = ({*of.ignored_values, of.uncertain_value} for of in (theirs, ours))
    if there != here:
        lines.append(f"ignored values: {sorted(there)} there and {sorted(here)} here")
    return lines
