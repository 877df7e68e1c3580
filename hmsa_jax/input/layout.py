"""How images of many sizes come to lie on few canvases: their sizes are read, canvases chosen."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hmsa_jax.input import decoding
from hmsa_jax.input.canvases import MOST, choose
from hmsa_jax.input.pipeline import check_source
from hmsa_jax.input.source import Source, head
from hmsa_jax.runtime import parallel
from hmsa_jax.runtime.progress import tell

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Heads:
    """What is known of records before their images are decoded.

    Attributes:
      sizes: by number, rows and columns of the image.
      ids: by number.
    """

    sizes: Mapping[int, Size]
    ids: Mapping[int, str]

    def where(self, condition: Callable[[Size], bool]) -> "Heads":
        """Those whose size meets a condition."""
        sizes = {number: size for number, size in self.sizes.items() if condition(size)}
        return Heads(sizes, {number: self.ids[number] for number in sizes})


def read_heads(
    source: Source,
    size_of: Callable[[decoding.Record], Size] = decoding.image_size,
    unreadable: dict[int, ValueError] | None = None,
) -> Heads:
    """Reads sizes and ids of all records: from what a built data set keeps beside them, if it does.

    Else it takes reading their bytes, once more than to decode them.

    Args:
      source: the records.
      size_of: reads rows and columns of a record's image; ValueError if it cannot.
      unreadable: takes number and error of the records that cannot be read, which are left out
        then.

    Raises:
      ValueError: without `unreadable`, a record cannot be read.
    """

    def size_and_id(record: decoding.Record) -> tuple[Size, str]:
        return size_of(record), record["id"]

    read = functools.partial(attempt, functools.partial(head, source), size_and_id, unreadable)
    heads = enumerate(parallel.in_order(read, range(len(source))))
    found = {number: known for number, known in heads if known is not None}
    sizes = {number: size for number, (size, _) in found.items()}
    return Heads(sizes, {number: name for number, (_, name) in found.items()})


@dataclasses.dataclass(frozen=True)
class Layout:
    """On which canvas each image of a source lies.

    Attributes:
      sizes: rows and columns of the images, by their numbers; those that cannot be read are left
        out.
      ids: names of the same images.
      canvas_of: rows and columns of an image -> those of its canvas.
      shared: the canvases that some of their images do not fill.
    """

    sizes: Mapping[int, Size]
    ids: Mapping[int, str]
    canvas_of: Mapping[Size, Size]
    shared: frozenset[Size]

    @property
    def commonest(self) -> Size:
        """The canvas on which most images lie."""
        counted = collections.Counter(self.canvas_of[size] for size in self.sizes.values())
        return counted.most_common(1)[0][0]

    @classmethod
    def of(cls, heads: Heads, canvases: int) -> "Layout":
        """Chooses at most so many canvases, `canvases.choose`; a user is told which."""
        chosen = choose(heads.sizes.values(), canvases)
        shared = frozenset(chosen.of.values()) - chosen.filled
        if shared:
            tell(f"{chosen.describe()}.")
        return cls(heads.sizes, heads.ids, chosen.of, shared)

    def groups(self, batch_size: int) -> Iterator[tuple[Size, list[int]]]:
        """Groups of up to `batch_size` images, by number, each with the canvas that they share.

        Every process computes the same groups.
        """
        waiting: dict[Size, list[int]] = {}
        for index, size in self.sizes.items():
            canvas = self.canvas_of[size]
            group = waiting.setdefault(canvas, [])
            group.append(index)
            if len(group) == batch_size:
                yield canvas, waiting.pop(canvas)
        yield from waiting.items()


def lay_out(
    source: Source,
    canvases: int = MOST,
    size_of: Callable[[decoding.Record], Size] = decoding.image_size,
) -> Layout:
    """Reads the sizes of all images and chooses canvases for them; a user is told which.

    Args:
      source: the records.
      canvases: the most that there may be; see `canvases.choose`.
      size_of: reads rows and columns of a record's image; ValueError if it cannot.

    Raises:
      ValueError: the source is empty, or as `size_of` does.
    """
    check_source(source)
    return Layout.of(read_heads(source, size_of), canvases)


def attempt(
    record_of: Callable[[int], decoding.Record],
    read: Callable[[decoding.Record], Any],
    unreadable: dict[int, ValueError] | None,
    number: int,
) -> Any:
    """What is read of a record; None if `unreadable` is there and takes the error."""
    try:
        return read(record_of(number))
    except ValueError as error:
        if unreadable is None:
            raise
        unreadable[number] = error
        return None
