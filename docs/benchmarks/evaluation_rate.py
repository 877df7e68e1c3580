"""Images a second that the evaluation step scores, by images in a batch.

    python docs/benchmarks/evaluation_rate.py

The network and the protocols of configs/street_scenes.py with drawn weights, on one device; with
and without the border between the network and the fusions. The steps run in turns; prints a
markdown table of medians and quartiles.
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
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.materialization import materialize

BATCHES, RUNS, IMAGES = (1, 2, 4, 8), 7, 16  # IMAGES are scored by each run
APPLY = multiscale.apply
BORDERS = {"without a border": False, "with a border": True}


def main() -> None:
    config = street_scenes.get_config()
    config.evaluate.metrics = ()
    rng = np.random.default_rng(0)
    size = config.data.crop_size
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    steps = {}
    for name, border in BORDERS.items():
        multiscale.apply = apply_with_border if border else APPLY
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
            begin = time.perf_counter()
            for _ in range(IMAGES // key[1]):
                jax.block_until_ready(step(*weights, batch))
            if run:  # the first one warms up
                rates[key].append(IMAGES / (time.perf_counter() - begin))
    count = len(config.evaluate.protocols)
    print(f"jax {jax.__version__}, {count} protocols, {size[0]} x {size[1]}\n")
    print(f"| images in a batch | {' | '.join(BORDERS)} |\n|---:|{'---:|' * len(BORDERS)}")
    for images in BATCHES:
        cells = [
            "{1:.1f} ({0:.1f}-{2:.1f})".format(*np.quantile(rates[name, images], (0.25, 0.5, 0.75)))
            for name in BORDERS
        ]
        print(f"| {images} | {' | '.join(cells)} |")


def apply_with_border(*arguments, **options):
    """`multiscale.apply`, whose outputs a CPU stores before any fusion reads them."""
    outputs, batch_stats = APPLY(*arguments, **options)
    return materialize(outputs), batch_stats


if __name__ == "__main__":
    main()
