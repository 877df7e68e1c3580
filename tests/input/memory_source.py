"""A source in memory and what to draw from it; in a module, so that workers unpickle it."""

import itertools

import cv2
import numpy as np

from hmsa_jax.input.pipeline import train_batches

IGNORE = 255
TRAIN = {
    "batch_size": 4,
    "crop_size": (12, 20),
    "scale_range": (0.5, 2.0),
    "flip": True,
    "ignore_label": IGNORE,
    "seed": 7,
    "start_step": 0,
    "num_workers": 0,
}


def encode_png(array: np.ndarray) -> bytes:
    """Encodes grey `[H, W]` or RGB `[H, W, 3]`."""
    if array.ndim == 3:
        array = array[..., ::-1]
    return cv2.imencode(".png", array)[1].tobytes()


def record(image: np.ndarray, label: np.ndarray, name: str) -> dict:
    return {"image": encode_png(image), "label": encode_png(label), "id": name}


class MemorySource:
    """Flat images: record i has colour (i, 0, 0), label i, and the i-th size."""

    def __init__(self, sizes):
        self._records = [
            record(
                np.full((*size, 3), (i, 0, 0), np.uint8), np.full(size, i, np.uint8), f"flat-{i}"
            )
            for i, size in enumerate(sizes)
        ]

    def __len__(self):
        return len(self._records)

    def __getitem__(self, index):
        return self._records[index]

    def replace(self, index, **fields):
        """Overwrites fields of one record."""
        self._records[index] = {**self._records[index], **fields}
        return self


class Counting:
    """A source that counts how often it is read."""

    def __init__(self, source):
        self._source = source
        self.reads = 0

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        self.reads += 1
        return self._source[index]


def take(source, steps, **options):
    """The first batches, stacked: {'image': [steps, b, h, w, 3], 'label': [steps, b, h, w]}."""
    batches = train_batches(source, **{**TRAIN, **options})
    taken = list(itertools.islice(batches, steps))
    batches.close()
    return {key: np.stack([batch[key] for batch in taken]) for key in ("image", "label")}


def assert_equal(got, expected):
    """Batches of the same images and labels."""
    for key in ("image", "label"):
        np.testing.assert_array_equal(got[key], expected[key])
