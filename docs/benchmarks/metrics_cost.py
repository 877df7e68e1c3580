"""What the metrics add to the evaluation step: time, and memory that the compiler reserves.

    python docs/benchmarks/metrics_cost.py

The network and the protocols of configs/street_scenes.py with drawn weights, and its first images,
on one device. The steps run in turns; prints a markdown table of medians and quartiles.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from configs import street_scenes
from data import registry
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import experiment, splits
from hmsa_jax.input import whole_images
from hmsa_jax.performance import compiled

RUNS = 21
METRICS = ((), ("boundary",), ("calibration",), ("boundary", "calibration"))


def main() -> None:
    config = street_scenes.get_config()
    images = config.evaluate.images_per_device
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    builder = registry.prepare(config.data.name, None, config.data.cache_dir)
    source = splits.open_split(builder, "data.eval_split", config.data.eval_split)
    batches = whole_images.eval_batches(source, batch_size=images, ignore_label=255)
    batch = sharding.put_batch(next(batches), sharding.evaluation_batch(mesh))
    programs, times = {}, {}
    for metrics in METRICS:
        config.evaluate.metrics = metrics
        assembled = experiment.assemble(config, mesh=mesh)
        weights = jax.device_put((assembled.params, assembled.batch_stats))
        programs[metrics] = assembled.evaluation_step().lower(*weights, batch).compile()
        times[metrics] = []
    for run in range(RUNS + 1):
        for metrics, program in programs.items():
            begin = time.perf_counter()
            jax.block_until_ready(program(*weights, batch))
            if run:  # the first one warms up
                times[metrics].append((time.perf_counter() - begin) / images * 1e3)
    print(f"jax {jax.__version__}, {images} images in a batch\n")
    print("| evaluate.metrics | ms an image | more | MiB |\n|---|---:|---:|---:|")
    base = np.median(times[()])
    for metrics, values in times.items():
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        memory = compiled.memory_of(programs[metrics]).temporaries / 2**20
        print(f"| {', '.join(metrics) or 'none'} | {middle:.1f} ({low:.1f}-{high:.1f})", end=" ")
        print(f"| {100 * (middle / base - 1):.1f} % | {memory:.0f} |")


if __name__ == "__main__":
    main()
