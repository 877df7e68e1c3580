"""A source of records to batches of arrays, for training and for evaluation.

A *source* is any random-access object with `len()` and `source[i]`, whose records are as `decode`
takes them: encoded image and label, and an id. Training hands its source to worker processes, so
that it must pickle.

Both functions give each process its contiguous rows of a global batch, which is what
`jax.make_array_from_process_local_data` expects: the global batch is the same for any number of
processes.
"""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Iterator
from typing import Protocol

import cv2
import grain
import numpy as np

from hmsa_jax.input import decoding, geometric
from hmsa_jax.input.class_uniform import DRAWN, ClassUniform, MixedOrder

Batch = dict[str, np.ndarray]

_THREADS = 4
# Batches that are decoded before they are asked for: enough to hide a slow one, few enough for
# full-size images to fit in memory.
_BATCHES_AHEAD = 4


class Source(Protocol):
    """Random access to encoded records."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> decoding.Record: ...


def train_batches(
    source: Source,
    *,
    batch_size: int,
    crop_size: tuple[int, int],
    scale_range: tuple[float, float],
    flip: bool,
    ignore_label: int,
    seed: int,
    start_step: int,
    num_workers: int,
    process_index: int = 0,
    process_count: int = 1,
    class_uniform: ClassUniform | None = None,
) -> Iterator[Batch]:
    """Yields augmented batches without end; the batch of step n is a function of (seed, n) alone.

    Every epoch is a new permutation of the records, in which each occurs once; a batch may span two
    epochs. Class-uniform crops come in between. Neither the number of workers nor that of processes
    changes the global batch, and starting at a late step costs nothing.

    Workers are spawned: a script that asks for them needs the guard `if __name__ == "__main__"` and
    parsed absl flags, as under `absl.app.run`. They end with `close()` of the iterator (see
    `contextlib.closing`), with its deletion, or with the program.

    Args:
      source: the records.
      batch_size: images in the global batch, over all processes.
      crop_size: height and width of the crops, in pixels.
      scale_range: smallest and largest random scale.
      flip: whether to mirror half of the crops.
      ignore_label: label of padding.
      seed: from 0 to 2**32 - 1; decides order and augmentation.
      start_step: the step of the first batch.
      num_workers: worker processes; 0 decodes in threads of this process.
      process_index: which of the processes this is.
      process_count: how many processes share a global batch.
      class_uniform: which crops are class-uniform; None: none.

    Returns:
      An iterator of {'image': uint8 `[batch_size / process_count, h, w, 3]`, 'label': uint8
      `[batch_size / process_count, h, w]`}.

    Raises:
      ValueError: if the source is empty or an argument is out of range; while iterating, if a
        record cannot be decoded.
    """
    rows = _local_rows(batch_size, process_index, process_count)
    _check_source(source)
    geometric.check_options(crop_size, scale_range)
    _check_order(seed, start_step, num_workers)
    load = _CropLoader(
        source=source,
        seed=seed,
        rows=rows,
        augment=functools.partial(
            geometric.random_crop,
            crop_size=tuple(crop_size),
            scale_range=tuple(scale_range),
            flip=flip,
            ignore_label=ignore_label,
        ),
        class_uniform=class_uniform,
    )
    # The order is settled on numbers, for which slicing is free; only then are records read. The
    # endless order has no remainder to drop, but counting it would overflow the length.
    order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
    mixed = MixedOrder(order, len(source), class_uniform) if class_uniform else _with_position
    batches = (
        order.map_with_index(mixed).batch(batch_size, drop_remainder=True)[start_step:].map(load)
    )
    return _iterate(batches, num_workers)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    ignore_label: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields full-size images, every record once over all processes.

    A batch holds images of one exact size, so that a jitted program compiles once a size. The last
    batch of each size is filled up with black images that are ignored and not valid. All processes
    yield equally many batches, of equal shapes in equal order, as collective programs need.

    Args:
      source: the records.
      batch_size: images in the global batch, over all processes.
      ignore_label: label of the images that fill up a batch.
      process_index: which of the processes this is.
      process_count: how many processes share a global batch.

    Returns:
      An iterator, with b = batch_size / process_count, of {'image': uint8 `[b, H, W, 3]`, 'label':
      uint8 `[b, H, W]`, 'valid': bool `[b]`}.

    Raises:
      ValueError: if the source is empty or an argument is out of range; while iterating, if a
        record cannot be decoded.
    """
    rows = _local_rows(batch_size, process_index, process_count)
    _check_source(source)
    return _decode_ahead(source, batch_size, rows, ignore_label)


def _with_position(position: int, index: int) -> tuple[int, int]:
    return position, index


@dataclasses.dataclass(frozen=True)
class _CropLoader:
    """Reads and augments one process's rows of a global batch."""

    source: Source
    seed: int
    rows: slice
    augment: functools.partial
    class_uniform: ClassUniform | None

    def __call__(self, batch: tuple[np.ndarray, np.ndarray]) -> Batch:
        """Loads a batch.

        Args:
          batch: positions in the endless order, int `[batch_size]`, and indices of the records at
            these positions, int `[batch_size]`, `DRAWN` for class-uniform crops.

        Returns:
          The local rows, as `train_batches` yields them.
        """
        positions, indices = batch
        crops = [
            self._load(int(position), int(index))
            for position, index in zip(positions[self.rows], indices[self.rows], strict=True)
        ]
        images, labels = zip(*crops, strict=True)
        return {"image": np.stack(images), "label": np.stack(labels)}

    def _load(self, position: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, position))
        holding = None
        if index == DRAWN:
            index, holding = self.class_uniform.draw(rng)
        image, label = decoding.decode(self.source[index])
        return self.augment(image, label, rng, holding=holding)


def _iterate(batches: grain.MapDataset, num_workers: int) -> Iterator[Batch]:
    """Reads ahead, in `num_workers` processes or in threads of this one."""
    threads = 1 if num_workers else _THREADS
    dataset = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    )
    if num_workers:
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2),
            worker_init_fn=_keep_opencv_to_one_thread,
        )
    iterator = iter(dataset)
    try:
        yield from iterator
    finally:
        iterator.close()


def _keep_opencv_to_one_thread(worker_index: int, worker_count: int) -> None:
    """Stops each worker from starting a thread a core: the workers already fill the cores."""
    del worker_index, worker_count
    cv2.setNumThreads(1)


def _decode_ahead(
    source: Source, batch_size: int, rows: slice, ignore_label: int
) -> Iterator[Batch]:
    """Yields the local rows of every evaluation batch, decoding the next ones in threads."""
    pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "hmsa-decode")
    ahead = collections.deque()

    def load(index: int) -> tuple[np.ndarray, np.ndarray]:
        return decoding.decode(source[index])

    def next_batch() -> Batch:
        size, examples = ahead.popleft()
        examples = [example.result() for example in examples]
        return _fill_up(examples, size, rows.stop - rows.start, ignore_label)

    try:
        for size, indices in _group_by_size(source, batch_size):
            ahead.append((size, [pool.submit(load, index) for index in indices[rows]]))
            if len(ahead) > _BATCHES_AHEAD:
                yield next_batch()
        while ahead:
            yield next_batch()
    finally:
        pool.shutdown(cancel_futures=True)


def _group_by_size(source: Source, batch_size: int) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Yields (height, width) and the indices of up to `batch_size` images of that size.

    Every process computes the same groups from the headers of all images. Only the indices of the
    groups still open are kept, at the price of reading the bytes of a record again to decode it.
    """
    groups = {}
    for index in range(len(source)):
        size = decoding.image_size(source[index])
        group = groups.setdefault(size, [])
        group.append(index)
        if len(group) == batch_size:
            yield size, groups.pop(size)
    yield from groups.items()


def _fill_up(
    examples: list[tuple[np.ndarray, np.ndarray]],
    size: tuple[int, int],
    batch_size: int,
    ignore_label: int,
) -> Batch:
    """Stacks at most `batch_size` examples and fills the batch up with ones that do not count."""
    batch = {
        "image": np.zeros((batch_size, *size, 3), np.uint8),
        "label": np.full((batch_size, *size), ignore_label, np.uint8),
        "valid": np.arange(batch_size) < len(examples),
    }
    for row, (image, label) in enumerate(examples):
        batch["image"][row] = image
        batch["label"][row] = label
    return batch


def _local_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a global batch that belong to one process."""
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"process_index: expected 0 to process_count - 1 = {process_count - 1}, got "
            f"{process_index}."
        )
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"data.batch_size: expected a positive multiple of the {process_count} processes that "
            f"share it, got {batch_size}."
        )
    local_size = batch_size // process_count
    return slice(process_index * local_size, (process_index + 1) * local_size)


def _check_source(source: Source) -> None:
    if not len(source):
        raise ValueError(
            "source: expected at least one record, got none; build the dataset and check the name "
            "of the split."
        )


def _check_order(seed: int, start_step: int, num_workers: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 to 2**32 - 1, got {seed}.")
    if start_step < 0:
        raise ValueError(f"start_step: expected 0 or more, got {start_step}.")
    if num_workers < 0:
        raise ValueError(
            f"data.num_workers: expected 0 (threads) or a number of processes, got {num_workers}."
        )
