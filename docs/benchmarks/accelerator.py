"""What is only modelled without an accelerator, measured on one: see accelerator.sh.

    python docs/benchmarks/accelerator.py [--minutes=8] [--trunk=w48] [--sizes=512x1024,1024x2048]

Programs of the paper's network (HRNet-W48 with OCR and hierarchical attention, 19 classes, drawn
weights, random images) on the first device of this machine, in bfloat16: the train step with the
scales 0.5 and 1, one and two images, and the evaluation step with the scales 0.5, 1 and 2 and
mirror images. Of each: seconds, images a second, useful work against the chip's published peak,
and memory. Then how far classes and logits in bfloat16 are from those in float32.

All programs are compiled side by side and run one after the other, in the order of the table. What
the minutes do not suffice for is listed.
"""

import argparse
import concurrent.futures
import copy
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np

from configs import base
from hmsa_jax.experiment import compile_report, experiment
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.performance import chips, compiled, flops
from hmsa_jax.runtime import machine

PROTOCOL = "hierarchical:0.5,1,2"


def main(args: argparse.Namespace) -> None:
    end = time.monotonic() + 60 * args.minutes
    device = jax.devices()[0]
    print(f"{device.device_kind}; {machine.describe()}; jax {jax.__version__}; {args.trunk}")
    wanted = [
        (kind, size, images, dtype)
        for size in args.sizes
        for kind, images, dtype in (
            ("train", 1, "bfloat16"),
            ("train", 2, "bfloat16"),
            ("evaluate", 1, "bfloat16"),
        )
    ]
    pool = concurrent.futures.ThreadPoolExecutor(args.workers)
    jobs = {row: pool.submit(compile_row, args.trunk, device, *row) for row in wanted}
    agreement = pool.submit(compile_both, args.trunk, device, args.sizes[0])
    print(
        "\n| step | size | images | s, median (quartiles) | images/s | useful TFLOP/s"
        " | of peak | memory, GiB | compiled in, s |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    left_out = [f"{row}: {why}" for row in wanted if (why := tell(row, jobs[row], device, end))]
    try:
        tell_agreement(agreement.result(max(end - time.monotonic(), 1)))
    except Exception as error:
        left_out.append(f"agreement: {type(error).__name__} {str(error).splitlines()[:1]}")
    for line in left_out:
        print(f"- left out: {line}")
    sys.stdout.flush()
    os._exit(0)  # without waiting for what still compiles


def config_of(trunk: str, size: str, dtype: str):
    config = base.get_config()
    config.model.trunk = trunk
    config.model.dtype = dtype
    config.model.remat = "modules" if size == "1024x2048" else "none"
    config.data.name = "cityscapes"
    config.data.crop_size = tuple(int(n) for n in size.split("x"))
    config.evaluate.protocols = (PROTOCOL,)
    config.evaluate.flip = True
    config.evaluate.metrics = ()
    config.evaluate.images_per_device = 1
    return config


def compile_row(trunk, device, kind, size, images, dtype):
    """The program of a row, compiled; how long that took; and its experiment."""
    assembled = experiment.assemble(config_of(trunk, size, dtype), [device])
    make = {"train": compile_report.train_program, "evaluate": compile_report.evaluation_program}
    program = make[kind](assembled, images)
    work = flops.count(program.useful.trace(*program.arguments).jaxpr)
    begin = time.monotonic()
    executable = program.step.lower(*program.arguments).compile()
    return program, executable, assembled, work, time.monotonic() - begin


def tell(row, job, device, end) -> str:
    """Runs a row and prints it; returns why not, if it cannot."""
    kind, size, images, _ = row
    try:
        program, executable, assembled, work, seconds = job.result(max(end - time.monotonic(), 0.1))
        found = compile_report.measured(program, executable, assembled)
    except TimeoutError:
        return "the time is over"
    except Exception as error:  # one row of several; the others are worth having
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    median, low, high = (found[name] for name in ("median", "lower_quartile", "upper_quartile"))
    chip, memory = chips.of_kind(device.device_kind), compiled.memory_of(executable)
    rate = work / median
    cells = [
        kind,
        size.replace("x", " x "),
        images,
        f"{median:.4f} ({low:.4f}-{high:.4f})",
        f"{images / median:.2f}",
        f"{rate / 1e12:.2f}",
        "-" if chip is None else f"{rate / chip.peak:.1%}",
        "-" if memory is None else f"{memory.peak / 2**30:.2f}",
        f"{seconds:.0f}",
    ]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    return ""


def compile_both(trunk, device, size):
    """Logits of one image in both precisions."""
    rng = np.random.default_rng(0)
    rows, columns = (int(n) for n in size.split("x"))
    coarse = rng.integers(0, 256, (1, rows // 16, columns // 16, 3), np.uint8)
    image = coarse.repeat(16, 1).repeat(16, 2)
    logits = {}
    for dtype in ("bfloat16", "float32"):
        assembled = experiment.assemble(copy.deepcopy(config_of(trunk, size, dtype)), [device])
        predictor = assembled.predictor(protocol_lib.parse_all([PROTOCOL]), flip=False)
        step = jax.jit(predictor.function(lambda outputs, _: outputs[0].logits))
        # The weights of both are drawn in float32, and are the same.
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            found, _ = step(assembled.params, assembled.batch_stats, {"image": image})
        logits[dtype] = np.asarray(found, np.float64)
    return logits


def tell_agreement(logits) -> None:
    ours, exact = logits["bfloat16"], logits["float32"]
    error = np.abs(ours - exact).max() / np.abs(exact).max()
    other = (ours.argmax(-1) != exact.argmax(-1)).mean()
    print(
        f"\nbfloat16 beside float32, drawn weights, {PROTOCOL}: logits differ by {error:.1e} of the"
        f" largest at most, {other:.2%} of the pixels get another class."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--trunk", default="w48")
    parser.add_argument("--sizes", type=lambda t: t.split(","), default=["512x1024", "1024x2048"])
    parser.add_argument("--workers", type=int, default=8, help="programs compiled at a time")
    main(parser.parse_args())
