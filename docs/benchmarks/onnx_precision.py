"""Mean IoU and seconds of ONNX files of `export`, for networks of configs/street_scenes.py.

    python docs/benchmarks/onnx_precision.py float32.onnx [OTHER.onnx ...] [--images=100]
        [--runs=9] [--threads=2]

All files are of one size, 128x256, and predict the painted streets of the validation split; the
classes of each are also compared with those of the first. Then they take turns with one picture.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np
import onnxruntime

sys.path.append(str(pathlib.Path(__file__).parents[2]))
from data.street_scenes import painter


def main(args: argparse.Namespace) -> None:
    scenes = [painter.paint(0, "validation", index)[:2] for index in range(args.images)]
    sessions = [session(file, args.threads) for file in args.files]
    classes = [[predicted(one, image) for image, _ in scenes] for one in sessions]
    seconds = timed(sessions, scenes[0][0], args.runs)
    print("| file | computes in | mean IoU, % | pixels of another class | s (quartiles) | MB |")
    print("|---|---|---:|---:|---:|---:|")
    for file, one, own, times in zip(args.files, sessions, classes, seconds, strict=True):
        about = json.loads(one.get_modelmeta().custom_metadata_map["hmsa_jax"])
        score = mean_iou(own, [label for _, label in scenes], len(about["classes"]))
        other = np.not_equal(own, classes[0]).mean()
        low, median, high = np.percentile(times, (25, 50, 75))
        size = pathlib.Path(file).stat().st_size / 1e6
        numbers = f"{score:.2f} | {other:.2%} | {median:.2f} ({low:.2f}-{high:.2f}) | {size:.1f}"
        print(f"| {file} | {about['dtype']} | {numbers} |")


def session(file: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def predicted(one: onnxruntime.InferenceSession, image: np.ndarray) -> np.ndarray:
    return one.run(["classes"], {"image": image[None]})[0][0]


def timed(
    sessions: Sequence[onnxruntime.InferenceSession], image: np.ndarray, runs: int
) -> np.ndarray:
    """Seconds of each session and turn, `[sessions, runs]`."""
    seconds = np.zeros((len(sessions), runs))
    for run in range(runs):
        for index, one in enumerate(sessions):
            begin = time.perf_counter()
            predicted(one, image)
            seconds[index, run] = time.perf_counter() - begin
    return seconds


def mean_iou(predictions: list[np.ndarray], labels: list[np.ndarray], classes: int) -> float:
    """In percent, over the pixels that have a class."""
    own, label = np.stack(predictions).astype(int), np.stack(labels).astype(int)
    counts = np.bincount((label * classes + own)[label < classes], minlength=classes**2)
    confusion = counts.reshape(classes, classes)
    right = np.diag(confusion)
    return 100 * float(np.mean(right / (confusion.sum(0) + confusion.sum(1) - right)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    main(parser.parse_args())
