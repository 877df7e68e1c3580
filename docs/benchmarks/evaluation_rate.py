"""Images a second of a core that the evaluation step scores, by images in a batch.

    taskset -c 1 python docs/benchmarks/evaluation_rate.py

The network and the protocols of configs/street_scenes.py with drawn weights, on one device; the
images of a batch one after the other, as a CPU predicts them, and at once. The steps run in turns;
prints a markdown table of medians and quartiles of the processor's time for this program alone.
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from configs import street_scenes
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import experiment
from hmsa_jax.inference import predictor

BATCHES, RUNS, IMAGES = (1, 2, 4, 8), 7, 16  # IMAGES are scored by each run
WAYS = {
    "one after the other": predictor.one_image_at_a_time,
    "at once": lambda predict, arrays, devices: predict(arrays),
}


def main() -> None:
    config = street_scenes.get_config()
    config.evaluate.metrics = ()
    rng = np.random.default_rng(0)
    size = config.data.crop_size
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    steps = {}
    for name, way in WAYS.items():
        predictor.one_image_at_a_time = way
        for images in BATCHES:
            config.evaluate.images_per_device = images
            assembled = experiment.assemble(config, mesh=mesh)
            batch = {
                "image": rng.integers(0, 256, (images, *size, 3), np.uint8),
                "label": rng.integers(0, 11, (images, *size), np.uint8),
            }
            batch = sharding.put_batch(batch, sharding.evaluation_batch(mesh))
            weights = jax.device_put((assembled.params, assembled.batch_stats))
            lowered = assembled.evaluation_step().lower(*weights, batch)
            steps[name, images] = lowered.compile(), weights, batch
    rates = {key: [] for key in steps}
    for run in range(RUNS + 1):
        for key, (step, weights, batch) in steps.items():
            begin = time.process_time()
            for _ in range(IMAGES // key[1]):
                jax.block_until_ready(step(*weights, batch))
            if run:  # the first one warms up
                rates[key].append(IMAGES / (time.process_time() - begin))
    count = len(config.evaluate.protocols)
    print(f"jax {jax.__version__}, {count} protocols, {size[0]} x {size[1]}\n")
    print(f"| images in a batch | {' | '.join(WAYS)} |\n|---:|{'---:|' * len(WAYS)}")
    for images in BATCHES:
        cells = [
            "{1:.1f} ({0:.1f}-{2:.1f})".format(*np.quantile(rates[name, images], (0.25, 0.5, 0.75)))
            for name in WAYS
        ]
        print(f"| {images} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
