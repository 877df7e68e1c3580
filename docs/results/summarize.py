"""Evaluation files of several runs as one Markdown table.

    python docs/results/summarize.py NAME=FILE[,FILE ...] [NAME=FILE[,FILE ...] ...]

Each NAME is a network, its FILEs the runs with different seeds; a cell is the mean IoU of each run
and their mean.
"""

import json
import pathlib
import statistics
import sys


def main(arguments: list[str]) -> None:
    if not arguments or any("=" not in argument for argument in arguments):
        sys.exit(__doc__)
    networks = {
        name: [json.loads(pathlib.Path(file).read_text()) for file in files.split(",")]
        for name, files in (argument.split("=", 1) for argument in arguments)
    }
    runs = max(map(len, networks.values()))
    print("| network | evaluation | " + " | ".join(f"run {i + 1}" for i in range(runs)), end=" ")
    print("| mean |\n" + "|---" * 2 + "|---:" * (runs + 1) + "|")
    for network, results in networks.items():
        for protocol in results[0]["protocols"]:
            scores = [result["protocols"][protocol]["mean_iou"] for result in results]
            cells = [f"{score:.1f}" for score in scores] + [""] * (runs - len(scores))
            print(f"| {network} | {protocol} | " + " | ".join(cells), end=" ")
            print(f"| {statistics.mean(scores):.2f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
