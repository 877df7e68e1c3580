"""Prediction, evaluation and train step on a CPU, side by side with the published PyTorch code.

    git clone https://github.com/NVIDIA/semantic-segmentation PUBLISHED
    python docs/benchmarks/pytorch_cpu.py PUBLISHED --torch_python=PYTHON

PYTHON is an interpreter that has PyTorch and numpy. `--before=FOLDER`, as often as wanted, adds
another checkout of this project, so that states are compared on the same day. On all sides:
HRNet-W48 with OCR and hierarchical attention, scales blended at the size of the image, the same
weights and batch, float32, two threads. A prediction ends with logits: only ours normalises the
images in the time measured; in the published code the loader does. An evaluation begins with uint8
images on the host and ends with the class of each pixel there: ours is the step of `predict`,
theirs normalises, predicts, and takes the largest logit. A train step has the scales 0.5 and 1,
cross-entropy (and 0.4 times that of the auxiliary head), SGD, no dropout. Each side is a process of
its own; they take turns, so that never two run. First they have to agree in the logits, in the
classes, and in the losses of three steps, the later of which depend on gradients and momentum.
Crops below 128x256 do not: BatchNorm of two pixels magnifies rounding 10,000 times.
"""

import argparse
import os
import pathlib
import re
import sys
import tempfile
import time
from subprocess import PIPE, Popen

import numpy as np

JOBS = ("prediction", "evaluation", "train step")
THREADS, CLASSES, IGNORE, SEED = 2, 19, 255, 11
RATE, MOMENTUM, DECAY = 0.01, 0.9, 5e-4  # of SGD
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the published code
TOLERANCE = 1e-3  # relative to the largest value; of classes, the share of pixels


def main(args: argparse.Namespace) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])  # workers inherit it
    processor = re.search("model name.*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    print(f"{processor}, {THREADS} threads; crop {args.crop}, batch {args.batch}")
    print(f"scales {args.scales} {'with' if args.flip else 'without'} the mirror image", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_batch(pathlib.Path(folder), args.batch, args.crop)
        # PyTorch's first: it writes the weights.
        theirs = Worker("PyTorch", args.torch_python, __file__, folder, args)
        scripts = {"ours": __file__}
        scripts |= {each: f"{each}/docs/benchmarks/pytorch_cpu.py" for each in args.before}
        sides = {
            name: Worker("ours", sys.executable, script, folder, args)
            for name, script in scripts.items()
        }
        sides["PyTorch"] = theirs
        rows = []
        for job in args.jobs:
            for _ in range(3 if job == "train step" else 1):
                *each, expected = [side.run(job) for side in sides.values()]
                for result in each:
                    require_agreement(job, result, expected)
            rows += [f"| {job} | {row} |" for row in timed(job, sides, args)]
        print(f"\nMedians (quartiles) of {args.runs}; ratios are medians over pairs.\n")
        print("| what | side | seconds | of PyTorch's | images/s |")
        print("|---|---|---:|---:|---:|", *rows, sep="\n")


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

    def __init__(self, side: str, python: str, script: str, folder: str, args: argparse.Namespace):
        command = [python, script, args.published, f"--worker={side}", f"--folder={folder}"]
        command += [f"--jobs={','.join(args.jobs)}", f"--scales={args.scales}"]
        command += [f"--crop={args.crop}", f"--batch={args.batch}", *(["--flip"] * args.flip)]
        checkout = pathlib.Path(script).parents[2]  # before any that is installed
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        self.process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment)
        self.result = pathlib.Path(folder) / f"{side}.npy"  # of the last job
        print(self.answer(), flush=True)

    def seconds(self, job: str) -> float:
        print(job, file=self.process.stdin, flush=True)
        return float(self.answer())

    def run(self, job: str) -> np.ndarray:
        self.seconds(job)
        return np.load(self.result)

    def answer(self) -> str:
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"stopped with the error above: {' '.join(self.process.args)}")
        return line.strip()


def require_agreement(job: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    if job == "evaluation":
        error, of = (ours != theirs).mean(), "the pixels"
    else:
        error, of = np.abs(ours - theirs).max() / np.abs(theirs).max(), "the largest value"
    print(f"{job}: the sides differ by {error:.1e} of {of}", flush=True)
    if not error <= TOLERANCE:  # nor is NaN
        raise SystemExit(f"{job}: expected at most {TOLERANCE:.0e}; nothing is timed")


def timed(job: str, sides: dict[str, Worker], args: argparse.Namespace) -> list[str]:
    """Has all sides, PyTorch last, do a job in turn; the cells of a row for each."""
    runs = np.array([[side.seconds(job) for side in sides.values()] for _ in range(args.runs)])
    ratios = np.median(runs / runs[:, -1:], axis=0)
    return [
        f"{side} | {median:.2f} ({low:.2f}-{high:.2f}) | {ratio:.2f} | {args.batch / median:.3f}"
        for side, ratio, (median, low, high) in zip(
            sides, ratios, np.percentile(runs, (50, 25, 75), axis=0).T, strict=True
        )
    ]


def work(args: argparse.Namespace) -> None:
    """A worker: does the job that each line of its input names, until that ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    about, jobs = (our_jobs if args.worker == "ours" else their_jobs)(args)
    print(about, file=answers, flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        result = jobs[line.strip()]()
        seconds = time.perf_counter() - begin
        np.save(args.folder / f"{args.worker}.npy", np.asarray(result))
        print(seconds, file=answers, flush=True)


def our_jobs(args: argparse.Namespace):
    """A line about this project, and its jobs, compiled."""
    import jax

    from configs import base
    from hmsa_jax.distributed import sharding
    from hmsa_jax.experiment import experiment
    from hmsa_jax.inference import prediction as prediction_lib
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
    config.evaluate.update(fusion_resolution="image", flip=args.flip, images_per_device=args.batch)
    assembled = experiment.assemble(config)
    tensors = weight_file.read(args.folder / "w48.pth")
    *ours, _ = pretrained.load(
        tensors, assembled.params, assembled.batch_stats, assembled.architecture
    )
    state = checkpoint.with_weights(assembled.initial_state(), *ours)
    weights = jax.tree.map(jax.numpy.copy, (state.params, state.batch_stats))  # steps donate theirs
    numbers = assembled.hyperparameters_on_devices()
    host = dict(np.load(args.folder / "batch.npz"))
    batch = sharding.put_batch(host, sharding.training_batch(assembled.mesh))
    images = {"image": sharding.whole_images(assembled.mesh)}
    on_device = sharding.put_batch(host, images)
    predictor = assembled.predictor(protocol_lib.parse_all([f"hierarchical:{args.scales}"]))
    steps = {
        "prediction": lambda: predictor.step(lambda o, _: o[0].logits, images["image"]),
        "evaluation": lambda: prediction_lib.make_prediction_step(predictor),
        "train step": assembled.train_step,
    }
    compiled, taken = {}, []
    for job in args.jobs:
        arguments = (state, numbers, batch) if job == "train step" else (*weights, on_device)
        begin = time.perf_counter()
        compiled[job] = steps[job]().lower(*arguments).compile()
        taken.append(f"{job} in {time.perf_counter() - begin:.0f} s")

    def prediction():
        logits, _ = jax.block_until_ready(compiled["prediction"](*weights, on_device))
        return logits

    def evaluation():
        classes, _ = compiled["evaluation"](*weights, sharding.put_batch(host, images))
        return np.asarray(classes)

    def step():
        nonlocal state
        state, metrics = jax.block_until_ready(compiled["train step"](state, numbers, batch))
        return metrics["loss"]

    about = f"ours: jax {jax.__version__}, compiled {', '.join(taken)}"
    return about, dict(zip(JOBS, (prediction, evaluation, step), strict=True))


def their_jobs(args: argparse.Namespace):
    """A line about the published code, and its jobs. Writes the weights of both sides."""
    import torch
    import w48_reference

    from tests.fixtures import seeded

    torch.set_num_threads(THREADS)
    network, cfg = w48_reference.published_network(args.published)
    cfg.MODEL.N_SCALES = [float(scale) for scale in args.scales.split(",")]
    del sys.modules["tabulate"]  # a stub, which PyTorch's optimizers trip over
    weights = seeded.state_dict(SEED, {k: v.shape for k, v in network.state_dict().items()})
    network.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    torch.save({"state_dict": network.state_dict()}, args.folder / "w48.pth")
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORE)
    network.criterion = lambda logits, labels, do_rmi: cross_entropy(logits, labels)
    network.ocr.ocr_distri_head.conv_bn_dropout[2].p = 0.0
    batch = np.load(args.folder / "batch.npz")
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (MEAN, DEVIATION))
    label = torch.from_numpy(batch["label"]).long()
    sgd = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=DECAY)

    def normalized():
        image = torch.from_numpy(batch["image"]).movedim(-1, 1)
        return ((image / 255 - mean) / deviation).contiguous()

    images = normalized()

    def predicted(images):
        return network.eval()({"images": images})["pred"]

    @torch.no_grad()
    def logits(images):
        if not args.flip:
            return predicted(images)
        return (predicted(images.flip(3)).flip(3) + predicted(images)) / 2

    def prediction():
        return logits(images).movedim(1, -1)

    def evaluation():
        return logits(normalized()).argmax(1).byte()

    def step():
        sgd.zero_grad()
        loss = network.train()({"images": images, "gts": label})
        loss.backward()
        sgd.step()
        return loss.detach()

    about = f"PyTorch: torch {torch.__version__}"
    return about, dict(zip(JOBS, (prediction, evaluation, step), strict=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("published", help="a checkout of the published code")
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--before", action="append", default=[], help="another checkout of this")
    parser.add_argument("--jobs", type=lambda text: text.split(","), default=JOBS)
    parser.add_argument("--scales", default="0.5,1", help="of prediction and evaluation")
    parser.add_argument("--flip", action="store_true", help="means with the mirror image, too")
    parser.add_argument("--crop", default="256x512", help="rows x columns")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.append(str(pathlib.Path(__file__).parents[2]))
    (work if args.worker else main)(args)
