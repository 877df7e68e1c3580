"""A source of records to batches of whole images, for evaluation and for labelling.

A batch holds images of one size, so that a jitted program compiles once a size. To make sizes few,
images may be padded at the bottom and on the right: in black, as training pads its crops.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hmsa_jax.input import decoding
from hmsa_jax.input.pipeline import Batch, Source, check_source, local_rows
from hmsa_jax.runtime import parallel

# Batches that are decoded before they are asked for: enough to hide a slow one, few enough for
# full-size images to fit in memory.
_BATCHES_AHEAD = 4

Size = tuple[int, int]


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    ignore_label: int,
    size_multiple: int = 1,
    process_index: int = 0,
    process_count: int = 1,
    size_of: Callable[[decoding.Record], Size] = decoding.image_size,
) -> Iterator[Batch]:
    """Yields labelled images, every record once over all processes.

    The last batch of each size is filled up with black images that are ignored and not valid. All
    processes yield equally many batches, of equal shapes in equal order, as collective programs
    need.

    Args:
      source: the records.
      batch_size: images in the global batch, over all processes.
      ignore_label: label of padding, and of the images that fill up a batch.
      size_multiple: what divides rows and columns of a padded image.
      process_index: which of the processes this is.
      process_count: how many processes share a global batch.
      size_of: reads rows and columns of a record's image; ValueError if it cannot.

    Returns:
      An iterator, with b = batch_size / process_count, of {'image': uint8 `[b, H, W, 3]`, 'label':
      uint8 `[b, H, W]`, 'valid': bool `[b]`, 'index': int `[n]`}, with the n <= batch_size
      records that the global batch holds, in its order.

    Raises:
      ValueError: if the source is empty or an argument is out of range; while iterating, if a
        record cannot be decoded.
    """
    rows = local_rows(batch_size, process_index, process_count)
    check_source(source)

    def fill_up(size, indices, examples):
        count = rows.stop - rows.start
        images, labels = zip(*examples, strict=True) if examples else ((), ())
        return {
            "image": _stack(images, (count, *size, 3), 0),
            "label": _stack(labels, (count, *size), ignore_label),
            "valid": np.arange(count) < len(examples),
            "index": np.array(indices),
        }

    groups = _group_by_size(
        lambda index: size_of(source[index]), len(source), batch_size, size_multiple
    )
    return _decode_ahead(groups, lambda index: decoding.decode(source[index]), fill_up, rows)


def image_batches(
    source: Source,
    *,
    batch_size: int,
    size_multiple: int = 1,
    unreadable: dict[int, ValueError] | None = None,
    size_of: Callable[[decoding.Record], Size] = decoding.image_size,
    decode: Callable[[decoding.Record], np.ndarray] = decoding.decode_image,
) -> Iterator[Batch]:
    """Yields images without their labels, every record once.

    Args:
      source: the records; of each only image and id are read.
      batch_size: images in a batch; the last of each size is filled up with black ones.
      size_multiple: what divides rows and columns of a padded image.
      unreadable: takes number and error of the records that cannot be read, which are left out
        then; without it the first of them ends the iteration.
      size_of: reads rows and columns of a record's image; ValueError if it cannot.
      decode: reads the image itself, uint8 `[H, W, 3]`; ValueError if it cannot.

    Returns:
      An iterator of {'image': uint8 `[b, H, W, 3]`, 'index': int `[n]`, 'size': int `[n, 2]`}, with
      the n <= b records that the batch holds, one at least, and rows and columns of each without
      padding.

    Raises:
      ValueError: as for `eval_batches`.
    """
    local_rows(batch_size, 0, 1)
    check_source(source)

    def attempt(read: Callable[[decoding.Record], Any], index: int) -> Any:
        try:
            return read(source[index])
        except ValueError as error:
            if unreadable is None:
                raise
            unreadable[index] = error
            return None

    def fill_up(size, indices, images):
        indices, images = _without_none(indices, images)
        return {
            "image": _stack(images, (batch_size, *size, 3), 0),
            "index": np.array(indices),
            "size": np.array([image.shape[:2] for image in images]),
        }

    sizes = functools.partial(attempt, size_of)
    groups = _group_by_size(sizes, len(source), batch_size, size_multiple)
    images = functools.partial(attempt, decode)
    batches = _decode_ahead(groups, images, fill_up, slice(0, batch_size))
    return (batch for batch in batches if len(batch["index"]))


def _decode_ahead(
    groups: Iterator[tuple[Size, list[int]]],
    load: Callable[[int], Any],
    fill_up: Callable[[Size, list[int], list], Batch],
    rows: slice,
) -> Iterator[Batch]:
    """Yields the batch of every group of records, decoding `rows` of the next ones in threads."""
    ahead = _BATCHES_AHEAD * (rows.stop - rows.start)
    groups, decoded = itertools.tee(groups)
    wanted = (index for _, indices in decoded for index in indices[rows])
    with contextlib.closing(parallel.in_order(load, wanted, ahead)) as examples:
        for size, indices in groups:
            yield fill_up(size, indices, list(itertools.islice(examples, len(indices[rows]))))


def _group_by_size(
    size_of: Callable[[int], Size | None], count: int, batch_size: int, size_multiple: int
) -> Iterator[tuple[Size, list[int]]]:
    """Yields a padded size and the indices of up to `batch_size` images of that size.

    Every process computes the same groups from the headers of all images. Only the indices of the
    groups still open are kept, at the price of reading the bytes of a record again to decode it.
    """
    groups: dict[Size, list[int]] = {}
    for index in range(count):
        found = size_of(index)
        if found is None:
            continue
        size = (_padded(found[0], size_multiple), _padded(found[1], size_multiple))
        group = groups.setdefault(size, [])
        group.append(index)
        if len(group) == batch_size:
            yield size, groups.pop(size)
    yield from groups.items()


def _without_none(indices: list[int], images: list) -> tuple[list[int], list]:
    pairs = [pair for pair in zip(indices, images, strict=True) if pair[1] is not None]
    return [index for index, _ in pairs], [image for _, image in pairs]


def _padded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _stack(arrays: Sequence[np.ndarray], shape: tuple[int, ...], padding: int) -> np.ndarray:
    """The arrays at the top left of a batch of `shape`, whose rest is padding."""
    batch = np.full(shape, padding, np.uint8)
    for row, array in zip(batch, arrays, strict=False):
        row[: array.shape[0], : array.shape[1]] = array
    return batch
