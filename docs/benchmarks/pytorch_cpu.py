"""Prediction and train step on a CPU, side by side with the published PyTorch code.

    git clone https://github.com/NVIDIA/semantic-segmentation PUBLISHED
    python docs/benchmarks/pytorch_cpu.py PUBLISHED --torch_python=PYTHON

PYTHON is an interpreter that has PyTorch and numpy. On both sides: HRNet-W48 with OCR and
hierarchical attention, scales 0.5 and 1 blended at the size of the image, the same weights and
batch, cross-entropy (and 0.4 times that of the auxiliary head), SGD, float32, no dropout, two
threads. Only ours normalises the images in the time measured; in the published code the loader
does. Each side is a process of its own; they take turns, so that never both run. First they have to
agree in a prediction and in the losses of three steps, the later of which depend on gradients and
momentum. Crops below 128x256 do not: BatchNorm of two pixels magnifies rounding 10,000 times.
"""

import argparse
import functools
import os
import pathlib
import re
import sys
import tempfile
import time
from subprocess import PIPE, Popen

import numpy as np

JOBS = ("prediction", "train step")
THREADS, CLASSES, IGNORE, SEED = 2, 19, 255, 11
RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4  # of SGD
TOLERANCE = 1e-3  # relative to the largest value


def main(args: argparse.Namespace) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # workers inherit it
    processor = re.search("model name.*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    print(f"{processor}, {THREADS} threads; crop {args.crop}, batch {args.batch}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_batch(pathlib.Path(folder), args.batch, args.crop)
        theirs = Worker("PyTorch", args.torch_python, args.published, folder)  # writes the weights
        ours = Worker("ours", sys.executable, args.published, folder)
        for job in (*JOBS, "train step", "train step"):
            require_agreement(job, ours, theirs)
        print(f"\nMedians (quartiles) of {args.runs}; the ratio is the median over pairs.\n")
        print("| what | ours, s | PyTorch, s | ours / PyTorch |\n|---|---:|---:|---:|")
        for job in JOBS:
            print(f"| {job} | {timed(job, ours, theirs, args.runs)} |", flush=True)


def write_batch(folder: pathlib.Path, batch_size: int, crop: str) -> None:
    """Random pixels and labels, a tenth of them of no class."""
    shape = (batch_size, *(int(n) for n in crop.split("x")))
    rng = np.random.default_rng(SEED)
    image = rng.integers(256, size=(*shape, 3), dtype=np.uint8)
    label = rng.integers(CLASSES, size=shape, dtype=np.uint8)
    label[rng.random(shape) < 0.1] = IGNORE
    np.savez(folder / "batch.npz", image=image, label=label)


class Worker:
    """The process of a side. It says what it is, then does jobs, and ends when this one does."""

    def __init__(self, side: str, python: str, published: str, folder: str):
        command = [python, __file__, published, f"--worker={side}", f"--folder={folder}"]
        self.process = Popen(command, stdin=PIPE, stdout=PIPE, text=True)
        self.result = pathlib.Path(folder) / f"{side}.npy"  # of the last job
        print(self.answer(), flush=True)

    def seconds(self, job: str) -> float:
        print(job, file=self.process.stdin, flush=True)
        return float(self.answer())

    def answer(self) -> str:
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"stopped with the error above: {' '.join(self.process.args)}")
        return line.strip()


def require_agreement(job: str, *workers: Worker) -> None:
    for worker in workers:
        worker.seconds(job)
    ours, theirs = (np.load(worker.result) for worker in workers)
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{job}: the sides differ by {error:.1e} of the largest value", flush=True)
    if not error <= TOLERANCE:  # nor is NaN
        raise SystemExit(f"{job}: expected at most {TOLERANCE:.0e}; nothing is timed")


def timed(job: str, ours: Worker, theirs: Worker, runs: int) -> str:
    """Has both do a job in turn; cells of the table."""
    pairs = np.array([(ours.seconds(job), theirs.seconds(job)) for _ in range(runs)])
    sides = np.percentile(pairs, (50, 25, 75), axis=0).T
    cells = [f"{median:.2f} ({low:.2f}-{high:.2f})" for median, low, high in sides]
    return " | ".join([*cells, f"{np.median(pairs[:, 0] / pairs[:, 1]):.2f}"])


def work(args: argparse.Namespace) -> None:
    """A worker: does the job that each line of its input names, until that ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    about, *jobs = (our_jobs if args.worker == "ours" else their_jobs)(args.folder, args.published)
    print(about, file=answers, flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        result = jobs[JOBS.index(line.strip())]()
        seconds = time.perf_counter() - begin
        np.save(args.folder / f"{args.worker}.npy", np.asarray(result))
        print(seconds, file=answers, flush=True)


def our_jobs(folder: pathlib.Path, _):
    """A line about this project, and its jobs, compiled."""
    import jax

    from configs import base
    from hmsa_jax.distributed import sharding
    from hmsa_jax.experiment import experiment
    from hmsa_jax.inference import protocol as protocol_lib
    from hmsa_jax.models import pretrained
    from hmsa_jax.training import checkpoint
    from hmsa_jax.weights import weight_file

    jax.config.update("jax_platforms", "cpu")
    config = base.get_config()
    config.data.name = "cityscapes"  # for its number of classes
    config.steps = 10**9  # so that the learning rate stays
    config.augment.update(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, blur=False)
    config.model.update(semantic_head="published", dropout=0.0, dtype="float32")
    config.objective.update(main_loss="cross_entropy", fusion_resolution="image")
    config.optimizer.update(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    assembled = experiment.assemble(config)
    tensors = weight_file.read(folder / "w48.pth")
    *ours, _ = pretrained.load(
        tensors, assembled.params, assembled.batch_stats, assembled.architecture
    )
    state = checkpoint.with_weights(assembled.initial_state(), *ours)
    shardings = sharding.training_batch(assembled.mesh)
    batch = sharding.put_batch(dict(np.load(folder / "batch.npz")), shardings)
    protocols = protocol_lib.parse_all(["hierarchical:0.5,1"])
    predict = functools.partial(
        protocol_lib.predict_all, protocols, assembled.graphdef, resolution="image", flip=False
    )
    begin = time.perf_counter()
    predict = jax.jit(predict).lower(state.params, state.batch_stats, batch["image"]).compile()
    middle = time.perf_counter()
    train_step = assembled.train_step().lower(state, batch).compile()
    taken = f"in {middle - begin:.0f} s and {time.perf_counter() - middle:.0f} s"

    def prediction():
        (output,) = predict(state.params, state.batch_stats, batch["image"])
        return jax.block_until_ready(output.logits)

    def step():
        nonlocal state
        state, metrics = jax.block_until_ready(train_step(state, batch))
        return metrics["loss"]

    return f"ours: jax {jax.__version__}, compiled {taken}", prediction, step


def their_jobs(folder: pathlib.Path, published: str):
    """A line about the published code, and its jobs. Writes the weights of both sides."""
    import torch
    import w48_reference

    from tests.fixtures import seeded

    torch.set_num_threads(THREADS)
    network, _ = w48_reference.published_network(published)
    del sys.modules["tabulate"]  # a stub, which PyTorch's optimizers trip over
    weights = seeded.state_dict(SEED, {k: v.shape for k, v in network.state_dict().items()})
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    torch.save({"state_dict": network.state_dict()}, folder / "w48.pth")
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORE)
    network.criterion = lambda logits, labels, do_rmi: cross_entropy(logits, labels)
    network.ocr.ocr_distri_head.conv_bn_dropout[2].p = 0.0
    batch = np.load(folder / "batch.npz")
    images = (batch["image"] / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    images = torch.from_numpy(np.moveaxis(images, -1, 1)).float().contiguous()
    inputs = {"images": images, "gts": torch.from_numpy(batch["label"]).long()}
    sgd = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)

    @torch.no_grad()
    def prediction():
        return network.eval()(inputs)["pred"].movedim(1, -1)

    def step():
        sgd.zero_grad()
        loss = network.train()(inputs)
        loss.backward()
        sgd.step()
        return loss.detach()

    return f"PyTorch: torch {torch.__version__}", prediction, step


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("published", help="a checkout of the published code")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--crop", default="256x512", help="rows x columns")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.append(str(pathlib.Path(__file__).parents[2]))
    (work if args.worker else main)(args)
