"""A source in memory and what to draw from it; in a module, so that workers unpickle it."""

import cv2
import numpy as np

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
