"""How often crops show each class, without and with class-uniform sampling, as a markdown table.

It has the share of the images that hold a class, and of pixels and of crops for each setting.

    python docs/benchmarks/class_histogram.py
    python docs/benchmarks/class_histogram.py camvid --dir=CAMVID --crop 256 384 --tile 180

Scales and flips are those of the config that has the data set's name.
"""

import argparse
import contextlib
import importlib
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np

from data import registry
from hmsa_jax.input import centroids, pipeline
from hmsa_jax.input.class_uniform import ClassUniform

CROPS = 4000
SHARES = (0.0, 0.5)
BATCH_SIZE = 8


def main():
    options = parse_options()
    config = importlib.import_module(f"configs.{options.name}").get_config()
    dataset = registry.get(options.name)
    builder = registry.prepare(options.name, options.dir, config.data.cache_dir)
    source = registry.open_source(builder, config.data.train_split)
    found = centroids.prepare(
        source,
        pathlib.Path(builder.data_dir) / "centroids",
        split=config.data.train_split,
        tile=options.tile,
        classes=dataset.classes,
    )
    images = [len(np.unique(found.of_class(n)[:, 0])) for n in range(len(dataset.classes))]
    columns = [100 * np.array(images) / len(source)]
    for share in SHARES:
        uniform = ClassUniform(found, share)
        pixels, crops = count(config, source, dataset, tuple(options.crop), uniform)
        columns += [100 * pixels.sum(axis=0) / pixels.sum(), 100 * crops.mean(axis=0)]
    print_table(dataset.classes, np.stack(columns, axis=1))


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="street_scenes", help="of the data set")
    parser.add_argument("--dir", help="what it is built from, as config.data.dir")
    parser.add_argument("--crop", nargs=2, type=int, default=(96, 128), help="rows, columns")
    parser.add_argument("--tile", type=int, default=64, help="side of a tile, in pixels")
    return parser.parse_args()


def count(config, source, dataset, crop_size, uniform):
    """Pixels of each class in each crop, int `[crops, classes]`, and whether there are any."""
    batches = pipeline.train_batches(
        source,
        batch_size=BATCH_SIZE,
        crop_size=crop_size,
        scale_range=config.data.scale_range,
        flip=config.data.flip,
        resampling=config.data.resampling,
        placement=config.data.placement,
        ignore_label=dataset.ignore_label,
        seed=config.seed,
        start_step=0,
        num_workers=0,
        class_uniform=uniform,
    )
    with contextlib.closing(batches):
        pixels = np.array(
            [
                np.bincount(label.ravel(), minlength=256)[: len(dataset.classes)]
                for batch in itertools.islice(batches, CROPS // BATCH_SIZE)
                for label in batch["label"]
            ]
        )
    return pixels, pixels > 0


def print_table(classes, columns):
    """Prints percentages `[classes, 1 + 2 * shares]`, in the order of the heads."""
    heads = [f"{what}, share {share:g}" for share in SHARES for what in ("pixels", "crops")]
    heads = ["images", *heads]
    print(f"| class | {' | '.join(heads)} |")
    print("|---|" + "---:|" * len(heads))
    for name, row in zip(classes, columns, strict=True):
        print(f"| {name} | " + " | ".join(f"{value:.3g} %" for value in row) + " |")


if __name__ == "__main__":
    main()
