"""The built-in data set: labelled street scenes that the project paints itself.

It needs no download. `data.streets.painter` paints each scene from (seed, split, index), so the
data set is the same on every machine that runs the same versions of numpy and OpenCV.
"""

from pathlib import Path

import cv2
import tensorflow_datasets as tfds

from data.builder import SegmentationBuilder
from data.streets import painter

SEED = 0
SIZES = {"train": 800, "validation": 100}
JPEG_QUALITY = 95


class StreetScenes(SegmentationBuilder):
    """Painted street scenes, 128 x 256, 11 classes and void.

    Large regions with little texture of their own (road, pavement, walls) stand beside things one
    or two pixels wide (posts, distant signs and people, lane marks): the former need context, the
    latter resolution.
    """

    VERSION = tfds.core.Version("1.0.0")
    ACTIVITY = "Painting"

    @classmethod
    def fingerprint(cls, directory: Path | None = None) -> str:
        sizes = "-".join(str(size) for size in SIZES.values())
        return f"painter{painter.VERSION}-seed{SEED}-{sizes}"

    @classmethod
    def create(cls, directory: Path | None, data_dir: Path) -> "StreetScenes":
        return cls(data_dir=data_dir, file_format="array_record")

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split: str):
        total = SIZES[split]
        for index in self.track(range(total), split, total):
            image, label = painter.paint(SEED, split, index)
            yield (
                index,
                {
                    "image": encode_image(image),
                    "label": encode_label(label),
                    "id": f"{split}-{index:04d}",
                },
            )


def encode_image(image) -> bytes:
    """JPEG bytes of an RGB image `[H, W, 3]` uint8, colours at full resolution."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]  # fmt: skip
    return cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()


def encode_label(label) -> bytes:
    """Grey PNG bytes of a label `[H, W]` uint8."""
    return cv2.imencode(".png", label)[1].tobytes()
