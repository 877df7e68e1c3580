"""A run, its exported file and its ONNX file on a CPU: seconds and memory of a prediction.

    python docs/benchmarks/exported.py RUN --size=256x512 [--runs=9] [--threads=2]

All predict the same picture with the same protocol: `run.predict`, jitted; a file for images up to
that size; one for images of that size alone; and one for onnxruntime, where what it takes is
installed. Each side is a process of its own; they take turns, so that never two compute. The memory
is the most that the process had while it predicted, programs and weights included.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

SIDES = {  # name -> flags of `export`; None is the run itself
    "the run": None,
    "file, any size": ["--out=any.hmsa"],
    "file, one size": ["--exact", "--out=one.hmsa"],
    "onnxruntime": ["--exact", "--format=onnx", "--out=one.onnx"],
}
ROOT = pathlib.Path(__file__).parents[2]


def main(args: argparse.Namespace) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # workers inherit it
    with tempfile.TemporaryDirectory() as folder:
        picture(args.size, pathlib.Path(folder) / "image.npy")
        files = {name: file for name in SIDES if (file := made(name, args, folder)) is not None}
        workers = {name: Worker(args, folder, name, file) for name, file in files.items()}
        seconds = [
            {name: worker.seconds() for name, worker in workers.items()} for _ in range(args.runs)
        ]
        print(
            f"\n{args.run}, {args.size}, {args.protocol}, {args.threads} threads;"
            f" medians of {args.runs}\n"
        )
        print(
            "| | s | quartiles | GB at most | pixels of another class |\n|---|---:|---:|---:|---:|"
        )
        expected = np.load(f"{folder}/the run.npy")
        for name, worker in workers.items():
            low, median, high = np.percentile([turn[name] for turn in seconds], (25, 50, 75))
            other = (np.load(f"{folder}/{name}.npy") != expected).mean()
            memory = worker.ask("memory") / 1e9
            print(f"| {name} | {median:.3f} | {low:.3f}-{high:.3f} | {memory:.2f} | {other:.4%} |")


def picture(size: str, path: pathlib.Path) -> None:
    rows, columns = map(int, size.split("x"))
    colours = np.random.default_rng(5).integers(0, 256, (-(-rows // 16), -(-columns // 16), 3))
    image = colours.astype(np.uint8).repeat(16, 0).repeat(16, 1)[:rows, :columns]
    np.save(path, image)


def made(name: str, args: argparse.Namespace, folder: str) -> str | None:
    """The file of a side, exported now; None, and why, if it cannot be."""
    if SIDES[name] is None:
        return args.run
    *flags, out = SIDES[name]
    file = f"{folder}/{out.removeprefix('--out=')}"
    shared = [f"--workdir={args.run}", f"--size={args.size}", f"--protocol={args.protocol}"]
    command = [sys.executable, "main.py", "export", *shared, *flags, f"--out={file}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(f"{name}: {(done.stdout + done.stderr).strip()}", flush=True)
    return None if done.returncode else file


class Worker:
    """The process of a side, which has compiled and predicted once."""

    def __init__(self, args: argparse.Namespace, folder: str, name: str, file: str):
        shared = [f"--protocol={args.protocol}", f"--folder={folder}", f"--threads={args.threads}"]
        command = [sys.executable, __file__, file, *shared, f"--worker={name}"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.answer()

    def seconds(self) -> float:
        return self.ask("predict")

    def ask(self, what: str) -> float:
        print(what, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> float:
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"stopped with the error above: {' '.join(self.process.args)}")
        return float(line)


def work(args: argparse.Namespace) -> None:
    """A worker: predicts, or says its memory, for each line of its input."""
    answers, sys.stdout = sys.stdout, sys.stderr
    image = np.load(f"{args.folder}/image.npy")
    predict = predictor(args)
    np.save(f"{args.folder}/{args.worker}.npy", predict(image))
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets what compiling took
    print(0, file=answers, flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        if line.strip() == "predict":
            predict(image)
            print(time.perf_counter() - begin, file=answers, flush=True)
        else:
            status = pathlib.Path("/proc/self/status").read_text()
            print(1024 * int(status.partition("VmHWM:")[2].split()[0]), file=answers, flush=True)


def predictor(args: argparse.Namespace):
    """From an image to the class of each pixel."""
    if args.worker == "the run":
        import hmsa_jax

        run = hmsa_jax.load_run(args.run)
        return lambda image: run.predict(image, protocol=args.protocol)
    if args.worker == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(args.run, options)
        names = [output.name for output in session.get_outputs() if output.name != "finite"]
        place = names.index("classes")
        return lambda image: session.run(names, {"image": image[None]})[place][0]
    import hmsa_jax

    network = hmsa_jax.load_export(args.run)
    return lambda image: network.predict(image).classes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--size", default="256x512")
    parser.add_argument("--protocol", default="hierarchical:0.5,1,2")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work(arguments) if arguments.worker else main(arguments)
