"""How fast worker processes read training images, beside the threads of the main process.

    pip install -e .[simd]
    python docs/benchmarks/worker_rate.py --workers=2

The images are those of input_rate.py, as data.encoding=stored keeps them; rates are by the clock.
"""

import argparse
import contextlib
import itertools
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import input_rate
from absl import flags

from hmsa_jax.input import pipeline

RUNS = 3
FIRST_BATCHES = 8
BATCHES = 24


def rate(source: list, num_workers: int, resampling: str) -> float:
    """Images a second, when the workers have started."""
    batches = pipeline.train_batches(
        source,
        batch_size=input_rate.BATCH,
        crop_size=input_rate.SIZE,
        scale_range=input_rate.SCALES,
        flip=True,
        ignore_label=input_rate.IGNORE,
        seed=0,
        start_step=0,
        num_workers=num_workers,
        resampling=resampling,
    )
    with contextlib.closing(batches):
        for _ in itertools.islice(batches, FIRST_BATCHES):
            pass
        begin = time.monotonic()
        for _ in itertools.islice(batches, BATCHES):
            pass
        return input_rate.BATCH * BATCHES / (time.monotonic() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    flags.FLAGS.mark_as_parsed()  # Grain asks for it
    source = input_rate.sources()["PNG, stored"]
    for resampling in ("bicubic", "bicubic_simd"):
        rates: dict[int, list[float]] = {0: [], workers: []}
        for _ in range(RUNS):
            for count, of_count in rates.items():
                of_count.append(rate(source, count, resampling))
        for count, of_count in rates.items():
            print(resampling, f"data.workers={count}:", *(f"{each:.1f}" for each in of_count))


if __name__ == "__main__":
    main()
