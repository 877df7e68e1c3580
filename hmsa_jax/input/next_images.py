"""For each image of a batch another one: the next of the split on the same canvas."""

import numpy as np

from hmsa_jax.input import decoding
from hmsa_jax.input.layout import Layout
from hmsa_jax.input.pipeline import Batch, Source


def next_on_canvas(layout: Layout) -> dict[int, int]:
    """Number of each image -> that of the next one on its canvas, after the last the first.

    Where all images have one size, the next on the canvas is the next of the split. An image alone
    on its canvas is its own next one.
    """
    on_canvas: dict[tuple[int, int], list[int]] = {}
    for number, size in layout.sizes.items():
        on_canvas.setdefault(layout.canvas_of[size], []).append(number)
    return {
        number: following
        for numbers in on_canvas.values()
        for number, following in zip(numbers, [*numbers[1:], numbers[0]], strict=True)
    }


def beside(
    source: Source, batch: Batch, rows: slice, following: dict[int, int]
) -> dict[str, np.ndarray]:
    """The next images, laid out like those of a batch.

    Args:
      source: the records.
      batch: of `whole_images.eval_batches`.
      rows: which images of the global batch it holds.
      following: from `next_on_canvas`.

    Returns:
      'next_image', uint8 `[b, H, W, 3]`, black beside what fills the batch up; and if the batch has
      'size', 'next_size', int32 `[b, 2]`.
    """
    images = np.zeros_like(batch["image"])
    sizes = np.full((len(images), 2), images.shape[1:3], np.int32)
    for row, number in enumerate(batch["index"][rows]):
        image, _ = decoding.decode(source[following[int(number)]])
        sizes[row] = image.shape[:2]
        images[row, : sizes[row, 0], : sizes[row, 1]] = image
    return {"next_image": images} | ({"next_size": sizes} if "size" in batch else {})
