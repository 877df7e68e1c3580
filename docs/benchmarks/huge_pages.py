"""What a step on a CPU costs where the C library asks for huge pages, and where it does not.

    python docs/benchmarks/huge_pages.py [--config.GROUP.FIELD=VALUE ...]

The train step of configs/street_scenes.py, with other values if some are given, and its evaluation
step, on drawn weights and random images. Either side is a process of its own; they take turns.
Prints a markdown table of medians: seconds by the clock, seconds of cores in the program and in
the system, pages that the system filled with zeros; and the most memory that a side took.
"""

import ast
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
RUNS = 9
WORKER = "--worker"
SIDES = {"as it is": {}, "huge": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}


def main(changes: list[str]) -> None:
    workers = {
        side: subprocess.Popen(
            [sys.executable, __file__, WORKER, *changes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", **variables},
        )
        for side, variables in SIDES.items()
    }
    facts = [json.loads(worker.stdout.readline()) for worker in workers.values()]
    print(facts[0], flush=True)
    print(
        "\n| step | pages | clock, s | program, s | system, s | filled | peak, MiB |\n"
        "|---|---|---:|---:|---:|---:|---:|"
    )
    for step in ("train", "evaluate"):
        rows = {side: [] for side in SIDES}
        for _ in range(RUNS):
            for side, worker in workers.items():
                print(step, file=worker.stdin, flush=True)
                rows[side].append(json.loads(worker.stdout.readline()))
        for side in SIDES:
            clock, program, system, pages, peak = np.median(rows[side], axis=0)
            print(
                f"| {step} | {side} | {clock:.3f} | {program:.3f} | {system:.3f} | {pages:.0f} |"
                f" {peak:.0f} |",
                flush=True,
            )
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


def work(changes: list[str]) -> None:
    """Compiles both steps, then runs the one that each line names, once."""
    import jax

    from configs import street_scenes
    from hmsa_jax.config import schema
    from hmsa_jax.experiment import compile_report, experiment

    config = schema.override(
        street_scenes.get_config(),
        {
            name.removeprefix("--config."): ast.literal_eval(value)
            for name, _, value in (change.partition("=") for change in changes)
        },
    )
    assembled = experiment.assemble(config, jax.devices()[:1])
    state, steps = assembled.initial_state(), {}
    for name in compile_report.STEPS:
        make = (
            compile_report.train_program if name == "train" else compile_report.evaluation_program
        )
        program = make(assembled, config.data.batch_size)
        rng = np.random.default_rng(0)
        batch = {
            key: rng.integers(0, 11, array.shape, np.uint8)
            for key, array in program.arguments[-1].items()
        }
        steps[name] = program, program.step.lower(*program.arguments).compile(), batch
    facts = {"jax": jax.__version__, "trunk": config.model.trunk, "crop": config.data.crop_size}
    print(json.dumps({**facts, "images": config.data.batch_size}), flush=True)
    warm = set()
    for line in sys.stdin:
        program, executable, batch = steps[line.strip()]
        for _ in range(1 if line in warm else 3):
            before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            state, result = program.run(executable, state, batch)
            jax.block_until_ready((state, result))
            del result
            clock, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF)
        warm.add(line)
        spent = (after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)
        pages = after.ru_minflt - before.ru_minflt
        print(json.dumps([clock, *spent, pages, after.ru_maxrss / 1024]), flush=True)


if __name__ == "__main__":
    changes = [argument for argument in sys.argv[1:] if argument != WORKER]
    (work if WORKER in sys.argv else main)(changes)
