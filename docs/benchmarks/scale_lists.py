"""What an evaluation costs by its list of scales: memory, work and time on chips that are not here.

    pip install -r requirements-targets.txt
    python docs/benchmarks/scale_lists.py OUT

Compiles the evaluation step of HRNet-W48 with OCR (configs/paper/table2_attention.py) for one image
of 1024 x 2048 and each list, without `evaluate.metrics`, by the command `backends`: what is in OUT
is not compiled again. Prints a markdown table. With `--targets=v5e` each list takes minutes, and up
to 14 GB of host memory; `--quick` compiles faster and tells no time.
"""

import argparse
import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import ml_collections

from configs.paper import table2_attention
from hmsa_jax.experiment import backends


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A row of the table: a list of scales and how it is predicted."""

    scales: str
    flip: bool = True
    resolution: str = "features"
    dtype: str = "bfloat16"

    @property
    def name(self) -> str:
        """Of its directory."""
        mirrored = "flip" if self.flip else "plain"
        return f"{self.scales.replace(',', '_')}-{mirrored}-{self.resolution}-{self.dtype}"

    def config(self) -> ml_collections.ConfigDict:
        config = table2_attention.get_config()
        config.data.dir = "."  # not read
        config.model.dtype = self.dtype
        alone = self.scales == "1"
        config.evaluate.protocols = ("single" if alone else f"hierarchical:{self.scales}",)
        config.evaluate.update(
            flip=self.flip, fusion_resolution=self.resolution, metrics=(), images_per_device=1
        )
        return config


FIVE = "0.5,1,1.5,2,2.5"
PREDICTIONS = (
    Prediction("1"),
    Prediction("0.5,1"),
    Prediction("0.5,1,2"),
    Prediction("0.25,0.5,1,2"),
    Prediction(FIVE),
    Prediction("0.5,1,2", flip=False),
    Prediction(FIVE, flip=False),
    Prediction("0.5,1,2", resolution="image"),
    Prediction(FIVE, resolution="image"),
    Prediction("0.5,1,2", resolution="image", dtype="float32"),
    Prediction(FIVE, resolution="image", dtype="float32"),
)


def main(args: argparse.Namespace) -> None:
    targets = args.targets.split(",")
    predictions = [PREDICTIONS[row] for row in args.rows]
    rows = {
        (prediction, target): row_of(prediction, target, args)
        for target in targets
        for prediction in predictions
    }
    heads = " | ".join(f"{target}, GiB | {target}, s" for target in targets)
    print(f"\n| scales | flip | fused at | computed in | TFLOP | {heads} |")
    print(f"|---|---|---|---|---:|{'---:|---:|' * len(targets)}")
    for p in predictions:
        of_targets = [rows[p, target] for target in targets]
        work = next((row["useful_flops"] for row in of_targets if "useful_flops" in row), None)
        cells = [
            p.scales.replace(",", ", "),
            "yes" if p.flip else "no",
            p.resolution,
            p.dtype,
            f"{work / 1e12:.2f}" if work else "-",
            *(cell for row in of_targets for cell in (memory(row), seconds(row))),
        ]
        print(f"| {' | '.join(cells)} |")


def row_of(prediction: Prediction, target: str, args: argparse.Namespace) -> dict:
    """What `backends` says of a prediction on a target."""
    (row,) = backends.backends(
        prediction.config(),
        args.out / prediction.name,
        targets=target,
        steps="evaluate",
        quick=args.quick,
        command="python docs/benchmarks/scale_lists.py",
    )
    return row


def memory(row: dict) -> str:
    if "memory" not in row:
        return row["status"]
    peak = f"{row['memory']['peak'] / 2**30:.2f}"
    return peak if row["status"] == "fits" else f"{peak}, {row['status']}"


def seconds(row: dict) -> str:
    return f"{row['time']['median']:.2f}" if "time" in row else "-"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, help="directory of what was compiled")
    parser.add_argument("--targets", default="h100", help="as for the command `backends`")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=range(len(PREDICTIONS)), help="some, from 0 on"
    )
    parser.add_argument("--quick", action="store_true", help="as for the command `backends`")
    main(parser.parse_args())
