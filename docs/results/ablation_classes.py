"""The IoU of each class by the networks of a workdir of `ablate`, mean over seeds, as Markdown.

    python docs/results/ablation_classes.py TABLES [NETWORK ...]

TABLES may also be what `ablation_counts.py` has kept of one. Each network is scored by its row in
the tables that has three scales.
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from hmsa_jax.ablation import ablate
from hmsa_jax.ablation.networks import NETWORKS
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.metrics.confusion import class_iou

FUSED = {"single": "average", "explicit": "explicit", "hierarchical": "hierarchical"}


def main(tables: str, *names: str) -> None:
    runs = ablate.results_in(pathlib.Path(tables)).scores.runs
    columns = {}
    for name in names or [name for name in NETWORKS if name in runs]:
        protocol = protocol_lib.parse(f"{FUSED[NETWORKS[name].method]}:0.5,1,2").name
        columns[name] = np.mean(
            [class_iou(each.totals[protocol]) for each in runs[name].values()], 0
        )
        classes = next(iter(runs[name].values())).classes
    print(f"| IoU, % | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for i, name in enumerate([*classes, "mean"]):
        values = [
            np.nanmean(column) if name == "mean" else column[i] for column in columns.values()
        ]
        print(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in values)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
