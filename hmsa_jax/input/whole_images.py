"""A source of records to batches of whole images, for evaluation and for labelling.

A batch holds images of one canvas, so that a jitted program compiles once a canvas. Those that do
not fill it lie at its top left, and the batch says how large each is.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from hmsa_jax.input import decoding
from hmsa_jax.input.layout import Layout, Size, attempt, lay_out
from hmsa_jax.input.pipeline import Batch, Source, check_source, local_rows
from hmsa_jax.runtime import parallel

# Batches that are decoded before they are asked for: enough to hide a slow one, few enough for
# full-size images to fit in memory.
_BATCHES_AHEAD = 4


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    ignore_label: int,
    layout: Layout | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields labelled images, every record once over all processes.

    The last batch of each canvas is filled up with black images that are ignored and not valid. All
    processes yield equally many batches, of equal shapes in equal order, as collective programs
    need.

    Args:
      source: the records.
      batch_size: images in the global batch, over all processes.
      ignore_label: label of padding, and of the images that fill up a batch.
      layout: of the source; None to read it.
      process_index: which of the processes this is.
      process_count: how many processes share a global batch.

    Returns:
      An iterator, with b = batch_size / process_count, of {'image': uint8 `[b, H, W, 3]`, 'label':
      uint8 `[b, H, W]`, 'valid': bool `[b]`, 'index': int `[n]`, 'id': n strings}, with the
      n <= batch_size records that the global batch holds, in its order. Where not all images of a
      canvas fill it, 'size', int32 `[b, 2]`, holds rows and columns of each.

    Raises:
      ValueError: if the source is empty or an argument is out of range; while iterating, if a
        record cannot be decoded.
    """
    rows = local_rows(batch_size, process_index, process_count)
    laid_out = lay_out(source) if layout is None else layout

    def fill_up(size, indices, examples):
        count = rows.stop - rows.start
        images, labels = zip(*examples, strict=True) if examples else ((), ())
        return {
            "image": _stack(images, (count, *size, 3), 0),
            "label": _stack(labels, (count, *size), ignore_label),
            "valid": np.arange(count) < len(examples),
            "index": np.array(indices),
            "id": [laid_out.ids[index] for index in indices],
            **_sizes_of(images, count, size, laid_out.shared),
        }

    groups = laid_out.groups(batch_size)
    return _decode_ahead(groups, lambda index: decoding.decode(source[index]), fill_up, rows)


def image_batches(
    source: Source,
    layout: Layout,
    *,
    batch_size: int,
    unreadable: dict[int, ValueError] | None = None,
    decode: Callable[[decoding.Record], np.ndarray] = decoding.decode_image,
) -> Iterator[Batch]:
    """Yields images without their labels, every record once.

    Args:
      source: the records; of each only image and id are read.
      layout: of the records that are wanted.
      batch_size: images in a batch; the last of each size is filled up with black ones.
      unreadable: as for `layout.read_heads`.
      decode: reads the image itself, uint8 `[H, W, 3]`; ValueError if it cannot.

    Returns:
      An iterator of {'image': uint8 `[b, H, W, 3]`, 'index': int `[n]`, 'id': n strings}, with the
      n <= b records that the batch holds, one at least; and 'size' as for `eval_batches`.

    Raises:
      ValueError: as for `eval_batches`.
    """
    local_rows(batch_size, 0, 1)
    check_source(source)

    def fill_up(size, indices, images):
        indices, images = _without_none(indices, images)
        return {
            "image": _stack(images, (batch_size, *size, 3), 0),
            "index": np.array(indices),
            "id": [layout.ids[index] for index in indices],
            **_sizes_of(images, batch_size, size, layout.shared),
        }

    images = functools.partial(attempt, source.__getitem__, decode, unreadable)
    batches = _decode_ahead(layout.groups(batch_size), images, fill_up, slice(0, batch_size))
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


def _sizes_of(
    images: Sequence[np.ndarray], count: int, canvas: Size, shared: Collection[Size]
) -> dict[str, np.ndarray]:
    """'size' of a batch of `count` images, of which those that fill it up are whole canvases."""
    if canvas not in shared:
        return {}
    sizes = [image.shape[:2] for image in images] + [canvas] * (count - len(images))
    return {"size": np.array(sizes, np.int32)}


def _without_none(indices: list[int], images: list) -> tuple[list[int], list]:
    pairs = [pair for pair in zip(indices, images, strict=True) if pair[1] is not None]
    return [index for index, _ in pairs], [image for _, image in pairs]


def _stack(arrays: Sequence[np.ndarray], shape: tuple[int, ...], padding: int) -> np.ndarray:
    """The arrays at the top left of a batch of `shape`, whose rest is padding."""
    batch = np.full(shape, padding, np.uint8)
    for row, array in zip(batch, arrays, strict=False):
        row[: array.shape[0], : array.shape[1]] = array
    return batch
