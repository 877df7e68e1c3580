"""Work through images with a network: what is not done yet, until a signal stops it."""

import collections
import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent import futures
from typing import Any, TypeVar

import jax
import numpy as np

from hmsa_jax.distributed import sharding
from hmsa_jax.distributed.preemption import Preemption
from hmsa_jax.inference import predictor as predictor_lib
from hmsa_jax.inference.predictor import Predictor, Summarize
from hmsa_jax.inference.tiles import TiledPredictor, Tiling
from hmsa_jax.input import decoding, whole_images
from hmsa_jax.input.decoding import Record
from hmsa_jax.input.image_files import Selection, id_of
from hmsa_jax.input.layout import Layout, read_heads
from hmsa_jax.input.pipeline import Source
from hmsa_jax.runtime.progress import Progress, tell

_WRITERS = 4  # threads
_MOST_WAITING = 2 * _WRITERS  # images that are written or will be, while devices go on
_MOST_BYTES = 2**28  # of their predictions

_Prediction = TypeVar("_Prediction")
_Written = TypeVar("_Written")


class ImagePredictor:
    """A network with its weights on the devices of this process, ready for unlabelled images.

    Args:
      predictor: the network and its protocol.
      params: of the network.
      batch_stats: of the network.
      summarize: as for `Predictor.step`: arrays `[B, H, W, ...]`.
      tiling: which images go in tiles; those of explicit attention never do.
      images_per_device: images of a batch, or tiles, on each device.
      canvases: as for `Layout.of`.
      size_of: as for `layout.read_heads`.
      decode: as for `whole_images.image_batches`.
    """

    def __init__(
        self,
        predictor: Predictor,
        params: dict,
        batch_stats: dict,
        summarize: Summarize,
        *,
        tiling: Tiling,
        images_per_device: int,
        canvases: int,
        size_of: Callable[[Record], tuple[int, int]] = decoding.image_size,
        decode: Callable[[Record], np.ndarray] = decoding.decode_image,
    ):
        mesh = predictor.mesh
        self._images = dict.fromkeys(("image", "size"), sharding.whole_images(mesh))
        params, batch_stats = jax.device_put((params, batch_stats), sharding.replicated(mesh))
        self._weights = params, batch_stats
        self._step = predictor.step(summarize, self._images["image"])
        self._size_of = predictor_lib.checked_size(size_of, predictor.protocols)
        self._decode = decode
        self._batches = functools.partial(
            whole_images.image_batches,
            batch_size=images_per_device * mesh.size,
            decode=decode,
        )
        self._canvases, self._tiling = canvases, tiling
        self._tiles = TiledPredictor(
            predictor,
            params,
            batch_stats,
            summarize,
            side=tiling.side,
            tiles_per_device=images_per_device,
        )

    def predictions(
        self, source: Source, unreadable: dict[int, ValueError]
    ) -> Iterator[tuple[list[int], list[Any]]]:
        """Yields the numbers of the images of a batch and the summary of each, without padding.

        Those that go in tiles come last, one by one.

        Args:
          source: the images.
          unreadable: as for `whole_images.image_batches`.

        Raises:
          FloatingPointError: logits are not finite; names the images.
        """
        heads = read_heads(source, self._size_of, unreadable)
        whole = heads.where(lambda size: not self._tiling.applies(size))
        params, batch_stats = self._weights
        laid_out = Layout.of(whole, self._canvases)
        batches = self._batches(source, laid_out, unreadable=unreadable)
        for batch, summary in predictor_lib.summaries(
            self._step, params, batch_stats, batches, self._images
        ):
            numbers = [int(index) for index in batch["index"]]
            yield numbers, list(predictor_lib.without_padding(batch, summary))
        large = heads.where(self._tiling.applies)
        for number, size in large.sizes.items():
            try:
                self._tiles.check(size)
                image = self._decode(source[number])
            except ValueError as error:
                unreadable[number] = error
                continue
            name, tiles = large.ids[number], self._tiles.count(size)
            tell(f"{name}: {size[0]} x {size[1]} pixels, {tiles} tiles.")
            yield [number], [self._tiles.predict(name, image)]


def work_through(
    title: str,
    source: Source,
    mine: Iterable[int],
    done: Collection[str],
    *,
    predict: Callable[
        [Selection, dict[int, ValueError]], Iterator[tuple[list[int], list[_Prediction]]]
    ],
    write: Callable[[Selection, int, _Prediction], _Written],
    record: Callable[[_Written], None],
) -> list[str]:
    """Predicts this process's images that are not done, and writes what is predicted.

    A signal stops all processes after the batch that they are at.

    Args:
      title: what the progress bar says.
      source: the images of all processes.
      mine: the numbers of those of this process.
      done: ids of the images that are done.
      predict: given the images that are left, yields numbers and predictions of a batch; puts those
        that cannot be read into the dict, as `whole_images.image_batches` does.
      write: given the images that are left, a number and its prediction; called in threads.
      record: takes what `write` returns, in order: only then an image is done. Meanwhile devices
        look at further images.

    Returns:
      The images that cannot be read, a line each that says why.
    """
    numbers = list(mine)
    # Without any done, no image is read for its id alone.
    left = [i for i in numbers if id_of(source, i) not in done] if done else numbers
    todo = Selection(source, left)
    unreadable: dict[int, ValueError] = {}

    waiting: collections.deque[tuple[futures.Future[_Written], int]] = collections.deque()

    def record_first() -> None:
        record(waiting.popleft()[0].result())
        progress.advance()

    with (
        Progress(title, len(numbers), len(numbers) - len(todo)) as progress,
        Preemption() as preemption,
        futures.ThreadPoolExecutor(_WRITERS, "hmsa-write") as pool,
    ):
        if not len(todo):
            return []
        for indices, predictions in predict(todo, unreadable):
            for index, prediction in zip(indices, predictions, strict=True):
                size = sum(x.nbytes for x in jax.tree.leaves(prediction))
                waiting.append((pool.submit(write, todo, index, prediction), size))
                while len(waiting) > _MOST_WAITING or sum(n for _, n in waiting) > _MOST_BYTES:
                    record_first()
            if preemption.requested_of_any():
                break
        while waiting:
            record_first()
    return todo.describe(unreadable)
