"""A source of records to batches of crops, for training.

A *source* is any random-access object with `len()` and `source[i]`, whose records are as `decode`
takes them: encoded image and label, and an id. Training hands its sources to worker processes, so
that they must pickle.

Each process gets its contiguous rows of a global batch, which is what
`jax.make_array_from_process_local_data` expects: the global batch is the same for any number of
processes.
"""

import atexit
import dataclasses
import functools
import gc
import sys
from collections.abc import Callable, Iterator

import grain
import numpy as np

from hmsa_jax.input import decoding, geometric, workers
from hmsa_jax.input.class_uniform import ClassUniform
from hmsa_jax.input.crop_order import CropOrder, crop_order
from hmsa_jax.input.pool import Pool
from hmsa_jax.input.source import JoinedSource, Source

Batch = dict[str, np.ndarray]

THREADS = 4
"""How many read where no worker process does."""


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
    num_workers: int | Callable[[Callable[[int], object]], int],
    resampling: str = "bicubic",
    placement: str = "published",
    process_index: int = 0,
    process_count: int = 1,
    class_uniform: ClassUniform | None = None,
    pool: Pool | None = None,
) -> Iterator[Batch]:
    """Yields augmented batches without end; the batch of step n is a function of (seed, n) alone.

    Every epoch is a new permutation of the records, in which each occurs once; a batch may span two
    epochs. Class-uniform crops and those of the pool come in between. Neither the number of workers
    nor that of processes changes the global batch, and starting at a late step costs nothing.

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
      num_workers: worker processes; 0 decodes in threads of this process. A function chooses them;
        it is given one that makes the i-th crop from the first on.
      resampling: how images are scaled, as for `geometric.random_crop`.
      placement: where crops lie, as for `geometric.random_crop`.
      process_index: which of the processes this is.
      process_count: how many processes share a global batch.
      class_uniform: how many crops are class-uniform; None: none.
      pool: a second data set, and how many crops are of it; None: none.

    Returns:
      An iterator of {'image': uint8 `[batch_size / process_count, h, w, 3]`, 'label': uint8
      `[batch_size / process_count, h, w]`}.

    Raises:
      ValueError: if the source is empty or an argument is out of range; while iterating, if a
        record cannot be decoded.
    """
    rows = local_rows(batch_size, process_index, process_count)
    check_source(source)
    geometric.check_options(crop_size, scale_range)
    _check_order(seed, start_step)
    load = _CropLoader(
        source=source if pool is None else JoinedSource(source, pool.source),
        order=crop_order(len(source), seed, class_uniform, pool),
        seed=seed,
        batch_size=batch_size,
        rows=rows,
        augment=functools.partial(
            geometric.random_crop,
            crop_size=crop_size,
            scale_range=scale_range,
            flip=flip,
            resampling=resampling,
            placement=placement,
            ignore_label=ignore_label,
        ),
    )
    if callable(num_workers):
        num_workers = num_workers(functools.partial(load.crop, start_step))
    _check_workers(num_workers)
    return _iterate(grain.MapDataset.range(start_step, sys.maxsize).map(load), num_workers)


@dataclasses.dataclass(frozen=True)
class _CropLoader:
    """Reads and augments one process's rows of a global batch."""

    source: Source
    order: CropOrder
    seed: int
    batch_size: int
    rows: slice
    augment: functools.partial

    def __call__(self, step: int) -> Batch:
        """Loads the local rows of a step's batch, as `train_batches` yields them."""
        count = self.rows.stop - self.rows.start
        images, labels = zip(*(self.crop(step, i) for i in range(count)), strict=True)
        return {"image": np.stack(images), "label": np.stack(labels)}

    def crop(self, step: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Makes the crop of that index among the local rows of a step's batch and the next ones."""
        later, row = divmod(index, self.rows.stop - self.rows.start)
        position = (step + later) * self.batch_size + self.rows.start + row
        rng = np.random.default_rng((self.seed, position))
        record, holding = self.order.crop(position, rng)
        image, label = decoding.decode(self.source[record])
        return self.augment(image, label, rng, holding=holding)


def _iterate(batches: grain.MapDataset, num_workers: int) -> Iterator[Batch]:
    """Reads ahead, in `num_workers` processes or in threads of this one."""
    threads = 1 if num_workers else THREADS
    dataset = batches.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    )
    if num_workers:
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=num_workers, per_worker_buffer_size=2),
            worker_init_fn=workers.begin,
        )
    iterator = iter(dataset)
    # A program may end without closing: the workers then leave before their shared memory does.
    atexit.register(iterator.close)
    try:
        with workers.deaths_explained():
            with workers.interrupts_withheld():  # the first batch starts the workers
                first = [next(iterator)]
            yield first.pop()  # kept here, it would stay in shared memory to the end
            yield from iterator
    finally:
        atexit.unregister(iterator.close)
        iterator.close()
        if num_workers:
            # JAX lets go of what it read of shared memory only when garbage is collected.
            gc.collect()


def local_rows(batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a global batch that belong to one process.

    >>> local_rows(16, process_index=1, process_count=4)
    slice(4, 8, None)
    """
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


def check_source(source: Source) -> None:
    if not len(source):
        raise ValueError(
            "source: expected at least one record, got none; build the dataset and check the name "
            "of the split."
        )


def _check_order(seed: int, start_step: int) -> None:
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 to 2**32 - 1, got {seed}.")
    if start_step < 0:
        raise ValueError(f"start_step: expected 0 or more, got {start_step}.")


def _check_workers(num_workers: int) -> None:
    if num_workers < 0:
        raise ValueError(
            f"data.workers: expected 0 (threads) or a number of processes, got {num_workers}."
        )
