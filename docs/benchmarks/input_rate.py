"""How many training images a core reads, and what augmentation costs.

    pip install -e .[simd]
    taskset -c 0 python docs/benchmarks/input_rate.py

Images of 1024 x 2048 are painted, with a photograph's file sizes, and held in memory, so that no
disk is measured. PNG and JPEG files and what data.encoding=stored makes of the former take turns.
Times are the processor's, for this program alone: what other programs do still shows in caches and
shared cores.
"""

import collections
import contextlib
import itertools
import math
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import cv2
import jax
import numpy as np

from data import pixels
from data.encodings import ENCODINGS
from hmsa_jax.input import decoding, geometric, pipeline
from hmsa_jax.input.photometric import Photometric, normalize

SIZE = (1024, 2048)
SCALES = (0.5, 2.0)
RESAMPLINGS = ("bicubic", "bicubic_simd", "bilinear")
IGNORE = 255
IMAGES = 4
BATCH = 2
FIRST_BATCHES = 6  # until as much is read ahead at the end of the measurement as at its start
BATCHES = 12
RUNS = 5
EIGHT_GPUS = 121  # images/s that eight H100 train on at 19 % of their peak (results/backends.md)
STORED = ENCODINGS["stored"]
AUGMENTATIONS = {
    "normalisation alone": Photometric(),
    "and jitter": Photometric(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.25),
    "and blur": Photometric(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.25, blur=True),
}


def photograph(rng: np.random.Generator) -> np.ndarray:
    """uint8 `[H, W, 3]`: shapes at all sizes, equal in the channels but for a tint, and noise."""
    grey = np.zeros(SIZE, np.float32)
    for octave in range(2, 9):
        coarse = rng.standard_normal((SIZE[0] >> octave, SIZE[1] >> octave)).astype(np.float32)
        grey += 2.0 ** (octave - 3) * cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    tint = cv2.resize(rng.uniform(0.7, 1, (8, 16, 3)).astype(np.float32), SIZE[::-1])
    noise = 2.5 * rng.standard_normal((*SIZE, 1)) + 0.5 * rng.standard_normal((*SIZE, 3))
    return ((grey[..., None] + 110) * tint + noise).clip(0, 255).astype(np.uint8)


def class_map(rng: np.random.Generator) -> np.ndarray:
    """uint8 `[H, W]`: regions of 19 classes with curved edges."""
    coarse = rng.standard_normal((12, 24)).astype(np.float32)
    field = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return ((field + 3) * 3).clip(0, 18).astype(np.uint8)


def sources() -> dict[str, list[decoding.Record]]:
    """The same images as PNG and JPEG files in memory, with PNG labels; PNG also stored."""
    rng = np.random.default_rng(0)
    png = [cv2.IMWRITE_PNG_COMPRESSION, 6]  # as most programs; OpenCV's own is 1
    options = {"PNG": png, "JPEG": [cv2.IMWRITE_JPEG_QUALITY, 95]}
    records = {kind: [] for kind in ("PNG", "PNG, stored", "JPEG")}
    for i in range(IMAGES):
        image = photograph(rng)
        label = cv2.imencode(".png", class_map(rng), png)[1].tobytes()
        for kind, option in options.items():
            data = cv2.imencode(f".{kind}", image, option)[1].tobytes()
            records[kind].append({"image": data, "label": label, "id": f"{kind}-{i}"})
    for record in records["PNG"]:
        stored = zip(("image", "label"), STORED(record["image"], record["label"]), strict=True)
        records["PNG, stored"].append(record | dict(stored))
    return records


def pipeline_rate(source: list[decoding.Record], resampling: str, seed: int) -> float:
    """Images a second and core of `train_batches` at its steady pace."""
    batches = pipeline.train_batches(
        source,
        batch_size=BATCH,
        crop_size=SIZE,
        scale_range=SCALES,
        flip=True,
        ignore_label=IGNORE,
        seed=seed,
        start_step=0,
        num_workers=0,
        resampling=resampling,
    )
    with contextlib.closing(batches):
        for _ in itertools.islice(batches, FIRST_BATCHES):
            pass
        begin = time.process_time()
        for _ in itertools.islice(batches, BATCHES):
            pass
        return BATCH * BATCHES / (time.process_time() - begin)


def stages(source: list[decoding.Record], resampling: str, seed: int) -> tuple[float, float, float]:
    """Milliseconds an image: decoding it, decoding its label, cropping both."""
    rng = np.random.default_rng(seed)
    times = np.zeros(3)
    for record in source:
        marks = [time.thread_time()]
        image = pixels.decode_image(record["image"])
        marks.append(time.thread_time())
        label = pixels.decode_unchanged(record["label"])
        marks.append(time.thread_time())
        geometric.random_crop(
            image, label, rng, crop_size=SIZE, scale_range=SCALES, resampling=resampling
        )
        marks.append(time.thread_time())
        times += np.diff(marks)
    return tuple(1000 * times / len(source))


def augmentation_times() -> dict[str, float]:
    """Milliseconds an image of everything that the step does to colours."""
    key = jax.random.key(0)
    images = photograph(np.random.default_rng(0))[None]
    compiled = {
        name: jax.jit(lambda key, x, augment=augment: normalize(augment(key, x)))
        .lower(key, images)
        .compile()
        for name, augment in AUGMENTATIONS.items()
    }
    images = jax.device_put(images)
    times = {name: [] for name in compiled}
    for _ in range(RUNS + 1):
        for name, function in compiled.items():
            begin = time.process_time()
            jax.block_until_ready(function(key, images))
            times[name].append(1000 * (time.process_time() - begin))
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def main() -> None:
    cv2.setNumThreads(1)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{SIZE[0]} x {SIZE[1]}, {cores} core(s), OpenCV {cv2.__version__}, jax {jax.__version__}"
    )
    print()
    records = sources()
    rates, parts = collections.defaultdict(list), collections.defaultdict(list)
    for run in range(RUNS):
        for row in itertools.product(records, RESAMPLINGS):
            kind, resampling = row
            rates[row].append(pipeline_rate(records[kind], resampling, run))
            parts[row].append(stages(records[kind], resampling, run))
    print(
        "| images | MB each, with label | scaled | img/s/core, median (range) | decode image |"
        f" decode label | crop | cores for {EIGHT_GPUS} img/s |"
    )
    print("|---|---:|---|---:|---:|---:|---:|---:|")
    for row, rate in rates.items():
        kind, resampling = row
        megabytes = sum(len(r["image"]) + len(r["label"]) for r in records[kind]) / IMAGES / 1e6
        median, low, high = (f(rate) for f in (statistics.median, min, max))
        milliseconds = " | ".join(f"{part:.1f} ms" for part in np.median(parts[row], axis=0))
        print(
            f"| {kind} | {megabytes:.2f} | {resampling} | {median:.1f} ({low:.1f}-{high:.1f}) |"
            f" {milliseconds} | {math.ceil(EIGHT_GPUS / median)} |"
        )
    print()
    print("| colours | ms an image |")
    print("|---|---:|")
    for name, milliseconds in augmentation_times().items():
        print(f"| {name} | {milliseconds:.0f} |")


if __name__ == "__main__":
    main()
