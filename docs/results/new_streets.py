"""What protocols reach on painted streets that no training and no choice has seen.

    python docs/results/new_streets.py RUN hierarchical:0.5,1,2 hierarchical:0.75,1,1.5

Paints 200 scenes of another seed and prints for each protocol the mean IoU, and how far it is
beyond that of the first one, with the paired interval.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import numpy as np

import hmsa_jax
from data.street_scenes import classes, painter
from hmsa_jax.metrics import bootstrap, confusion

SEED, SCENES, BATCH = 2, 200, 20


def main(run: str, protocols: list[str]) -> None:
    opened = hmsa_jax.load_run(run)
    painted = [painter.paint(SEED, "validation", i) for i in range(SCENES)]
    images, labels = (np.stack(each) for each in zip(*painted, strict=True))
    scores = {}
    for protocol in protocols:
        predicted = [
            opened.predict(images[i : i + BATCH], protocol=protocol)
            for i in range(0, SCENES, BATCH)
        ]
        counts = counts_of(labels, np.concatenate(predicted))
        resampled = bootstrap.mean_iou_of_resamples(counts)
        scores[protocol] = confusion.mean_iou(counts.sum(0)), resampled
        mean, first = (scores[p] for p in (protocol, protocols[0]))
        low, high = (100 * end for end in bootstrap.interval(mean[1] - first[1]))
        beyond = 100 * (mean[0] - first[0])
        print(f"{protocol}: {100 * mean[0]:.1f} %, {beyond:+.1f} ({low:+.1f} to {high:+.1f})")


def counts_of(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The confusion matrix of each scene, `[N, C, C]`."""
    number = len(classes.NAMES)
    counts = np.zeros((len(labels), number, number), int)
    scene, *_ = known = np.nonzero(labels < number)
    np.add.at(counts, (scene, labels[known], predicted[known]), 1)
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run", help="directory of a run on street_scenes")
    parser.add_argument("protocols", nargs="+", help="as in evaluate.protocols")
    arguments = parser.parse_args()
    main(arguments.run, arguments.protocols)
