"""A run, its exported files and the published PyTorch code on a CPU: seconds and memory.

    python docs/benchmarks/exported.py RUN --size=256x512 [--runs=9] [--threads=2]
        [--published=PUBLISHED --torch_python=PYTHON] [--files=FOLDER]

All predict the same picture with the same protocol, without the mirror image: `run.predict`,
jitted; a file for images up to that size; one for images of that size alone; one for onnxruntime,
where what it takes is installed; and with --published the published code, a checkout of
https://github.com/NVIDIA/semantic-segmentation, by an interpreter that has PyTorch and numpy. That
takes the weights of the run, which has to be HRNet-W48 of configs/published.py with 19 classes:
w48_reference.py writes a checkpoint with seeded weights, and `convert --from` makes it a run.

From uint8 pixels to the class of each pixel, on the host: the files and PyTorch also return its
probability, the files the shares of the scales. Each side is a process of its own; they take turns,
so that never two compute. The memory is the most that the process had while it predicted, programs
and weights included. Probabilities are compared with those of the run's logits. Files that
lie in FOLDER are not exported again.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

SIDES = {  # name -> flags of `export`
    "file, any size": ["--out=any.hmsa"],
    "file, one size": ["--exact", "--out=one.hmsa"],
    "onnxruntime": ["--exact", "--format=onnx", "--out=one.onnx"],
}
RUN, PYTORCH = "the run", "PyTorch"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the published code
ROOT = pathlib.Path(__file__).parents[2]

Results = dict[str, np.ndarray]  # `classes` and, of sides that have it, `probability`, uint8


def main(args: argparse.Namespace) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # workers inherit it
    with tempfile.TemporaryDirectory() as folder:
        picture(args.size, pathlib.Path(folder) / "image.npy")
        files = {RUN: args.run} | {name: made(name, args, folder) for name in SIDES}
        if args.published:
            files[PYTORCH] = checkpoint(args, folder)
        workers = {name: Worker(args, folder, name, file) for name, file in files.items() if file}
        seconds = [
            {name: worker.number("predict") for name, worker in workers.items()}
            for _ in range(args.runs)
        ]
        print(f"\n{args.run}, {args.size}, {args.protocol}, {args.threads} threads;", end=" ")
        print(f"medians of {args.runs}\n")
        print("| | computes in | s | quartiles | GB at most | of another class | probabilities |")
        print("|---|---|---:|---:|---:|---:|---:|")
        memory = {name: worker.number("memory") / 1e9 for name, worker in workers.items()}
        for worker in workers.values():
            worker.number("results")
        for name, worker in workers.items():
            low, median, high = np.percentile([turn[name] for turn in seconds], (25, 50, 75))
            numbers = f"{median:.3f} | {low:.3f}-{high:.3f} | {memory[name]:.2f}"
            print(f"| {name} | {worker.about} | {numbers} | {beside_the_run(folder, name)} |")


def picture(size: str, path: pathlib.Path) -> None:
    rows, columns = map(int, size.split("x"))
    colours = np.random.default_rng(5).integers(0, 256, (-(-rows // 16), -(-columns // 16), 3))
    image = colours.astype(np.uint8).repeat(16, 0).repeat(16, 1)[:rows, :columns]
    np.save(path, image)


def made(name: str, args: argparse.Namespace, folder: str) -> str | None:
    """The file of a side, exported unless it is there; None, and why, if it cannot be."""
    *flags, out = SIDES[name]
    file = f"{args.files or folder}/{out.removeprefix('--out=')}"
    if pathlib.Path(file).exists():
        return file
    shared = [f"--size={args.size}", f"--protocol={args.protocol}", "--noflip"]
    begin = time.perf_counter()
    failed = command("export", f"--workdir={args.run}", *shared, *flags, f"--out={file}")
    print(f"{name}: {failed or f'{time.perf_counter() - begin:.0f} s to export'}", flush=True)
    return None if failed else file


def checkpoint(args: argparse.Namespace, folder: str) -> str:
    """The weights of the run for PyTorch."""
    file = f"{folder}/run.pth"
    if failed := command("convert", f"--workdir={args.run}", f"--to={file}"):
        raise SystemExit(failed)
    return file


def command(*words: str) -> str:
    """Runs a command of the project; what it said if it failed."""
    line = [sys.executable, "main.py", *words]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def beside_the_run(folder: str, name: str) -> str:
    """Cells of the table: pixels of another class, and differences of the probabilities."""
    own, run = (np.load(f"{folder}/{side}.npz") for side in (name, RUN))
    other = f"{(own['classes'] != run['classes']).mean():.4%}"
    distance = np.abs(own["probability"].astype(int) - run["probability"]) / 255
    return f"{other} | {distance.mean():.5f}, {distance.max():.3f} at most"


class Worker:
    """The process of a side, which has predicted once, and says what it computes in."""

    def __init__(self, args: argparse.Namespace, folder: str, name: str, file: str):
        python = args.torch_python if name == PYTORCH else sys.executable
        shared = [f"--protocol={args.protocol}", f"--folder={folder}", f"--threads={args.threads}"]
        line = [python, __file__, file, *shared, f"--published={args.published}"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*line, f"--worker={name}"], cwd=ROOT, stdin=pipe, stdout=pipe, text=True
        )
        self.about = self.answer()

    def number(self, what: str) -> float:
        print(what, file=self.process.stdin, flush=True)
        return float(self.answer())

    def answer(self) -> str:
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"stopped with the error above: {' '.join(self.process.args)}")
        return line.strip()


def work(args: argparse.Namespace) -> None:
    """A worker: predicts, says its memory, or writes results, for each line of its input."""
    answers, sys.stdout = sys.stdout, sys.stderr
    image = np.load(f"{args.folder}/image.npy")
    make = {RUN: of_run, PYTORCH: of_published, "onnxruntime": of_onnx}.get(args.worker, of_file)
    about, predict, results = make(args)
    predict(image)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets what compiling took
    print(about, file=answers, flush=True)
    for line in sys.stdin:
        number, begin = 0.0, time.perf_counter()
        if line.strip() == "predict":
            predict(image)
            number = time.perf_counter() - begin
        elif line.strip() == "memory":
            status = pathlib.Path("/proc/self/status").read_text()
            number = 1024 * int(status.partition("VmHWM:")[2].split()[0])
        else:
            np.savez(f"{args.folder}/{args.worker}.npz", **results(image))
        print(number, file=answers, flush=True)


Side = tuple[str, Callable[[np.ndarray], object], Callable[[np.ndarray], Results]]


def of_run(args: argparse.Namespace) -> Side:
    """What the run computes in; its prediction, which is timed; and that with probabilities."""
    import jax

    import hmsa_jax

    run = hmsa_jax.load_run(args.run)
    way = {"protocol": args.protocol, "flip": False}

    def results(image: np.ndarray) -> Results:
        shares = jax.nn.softmax(run.outputs(image, **way).logits[0])
        probability = np.rint(255 * np.asarray(shares.max(-1))).astype(np.uint8)
        return {"classes": run.predict(image, **way), "probability": probability}

    return run.config.model.dtype, lambda image: run.predict(image, **way), results


def of_file(args: argparse.Namespace) -> Side:
    import hmsa_jax

    network = hmsa_jax.load_export(args.run)

    def results(image: np.ndarray) -> Results:
        said = network.predict(image)
        return {"classes": said.classes, "probability": said.probability}

    return network.about["dtype"], network.predict, results


def of_onnx(args: argparse.Namespace) -> Side:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.run, options)
    names = [output.name for output in session.get_outputs()]

    def predict(image: np.ndarray) -> Results:
        arrays = dict(zip(names, session.run(names, {"image": image[None]}), strict=True))
        return {name: arrays[name][0] for name in ("classes", "probability")}

    about = json.loads(session.get_modelmeta().custom_metadata_map["hmsa_jax"])
    return about["dtype"], predict, predict


def of_published(args: argparse.Namespace) -> Side:
    import torch
    import w48_reference

    torch.set_num_threads(args.threads)
    network, cfg = w48_reference.published_network(args.published)
    cfg.MODEL.N_SCALES = [float(scale) for scale in args.protocol.partition(":")[2].split(",")]
    state = torch.load(args.run)["state_dict"]
    network.load_state_dict({name.removeprefix("module."): x for name, x in state.items()})
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (MEAN, DEVIATION))

    @torch.no_grad()
    def predict(image: np.ndarray) -> Results:
        pixels = torch.from_numpy(image).movedim(-1, 0)[None] / 255
        logits = network({"images": ((pixels - mean) / deviation).contiguous()})["pred"]
        probability, classes = logits.softmax(1).max(1)
        byte = (255 * probability[0]).round().byte()
        return {"classes": classes[0].byte().numpy(), "probability": byte.numpy()}

    return str(next(network.parameters()).dtype).removeprefix("torch."), predict, predict


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--size", default="256x512")
    parser.add_argument("--protocol", default="hierarchical:0.5,1,2")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--published", default="", help="a checkout of the published code")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--files", help="folder for exported files; else they are removed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.append(str(ROOT))
    work(arguments) if arguments.worker else main(arguments)
