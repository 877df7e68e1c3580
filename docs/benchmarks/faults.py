"""Which faults are survived: what is broken on purpose, how often, and what came of it.

    python docs/benchmarks/faults.py --out=docs/results/faults.md

A fault is survived if the command succeeds with the right result, or refuses in a few lines that
name the file or the field; without a traceback, a hang, or data that are lost or changed. After a
kill the same command has to go on to the result of one that was not killed, bit for bit. Each try
is a line of JSON in a scratch directory, with its commands; what was broken stays there when one
falls short. `--only=CLASS` tries one class, with the same faults as among all, and replaces its row
in the table; `--tries=2` tries twice as often, `--seed` makes others.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax
import numpy as np
from faults import (
    checkpoints,
    configs,
    disk,
    kills,
    moments,
    odd_paths,
    pictures,
    processes,
    weights,
)
from faults.bench import Bench

# What is tried, and how often without --tries.
CLASSES = {
    "pictures": ("damaged pictures, check-data and the build", pictures.read, 56),
    "labelling": ("damaged pictures, autolabel", pictures.autolabel, 6),
    "weights": ("damaged and harmful weight files", weights.read, 160),
    "convert": ("weights that do not fit, or are not finite", weights.convert, 8),
    "checkpoints": ("damaged checkpoints", checkpoints.read, 80),
    "configs": ("damaged configs, values that cannot be", configs.fields, 80),
    "classes": ("damaged class lists", configs.class_lists, 24),
    "renamed": ("classes of a run, renamed or in another order", configs.renamed, 6),
    "paths": ("odd paths", odd_paths.tries, 24),
    "disk": ("full disks", disk.full, 9),
    "permission": ("directories that may not be read or written", disk.permission, 6),
    "kill-train": ("train, killed or signalled", kills.train, 9),
    "kill-convert": ("convert --from, killed or signalled", kills.convert, 6),
    "kill-autolabel": ("autolabel, killed or signalled", kills.autolabel, 6),
    "processes": ("two processes: other fields, a kill, a signal", processes.tries, 6),
    "predict": ("20 damaged pictures of all formats, predict", pictures.predict, 10),
    "moments": ("train on a disk and in a bucket, stopped in each phase", moments.tries, 20),
}


def main() -> None:
    options = parse_options()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"Each try is a line of {scratch / 'tries.jsonl'}.", file=sys.stderr)
    bench = Bench(scratch / "bench")
    chosen = options.only or list(CLASSES)
    rows = read_rows(options.out) if options.out and options.only else {}
    fell_short = False
    with (scratch / "tries.jsonl").open("w", buffering=1) as log:
        for name in chosen:
            title, trials, count = CLASSES[name]
            # Of its own, so that a class makes the same faults whatever runs before it.
            rng = np.random.default_rng([options.seed, list(CLASSES).index(name)])
            count = max(round(count * options.tries), 1)
            tried, survived = count_survivals(name, trials(bench, rng, count), bench, log)
            rows[title] = tried, survived
            fell_short |= survived < tried
            if options.out:  # after each class, so that an end loses none
                options.out.write_text(table(rows))
    print(table(rows))
    if fell_short:
        sys.exit(f"{bench.scratch} holds what was broken.")
    shutil.rmtree(bench.scratch)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=float, default=1.0, help="multiplies the number of tries")
    parser.add_argument("--only", action="append", choices=CLASSES, help="may be given repeatedly")
    parser.add_argument("--out", type=pathlib.Path, help="where the table goes")
    return parser.parse_args()


def count_survivals(name: str, trials, bench: Bench, log) -> tuple[int, int]:
    """Tries, and those that were survived; tells of the others at once."""
    tried, survived = 0, 0
    for trial in trials:
        tried += 1
        survived += not trial.trouble
        line = {"class": name, "fault": trial.fault, "trouble": trial.trouble}
        log.write(json.dumps(line | {"commands": bench.commands, "output": trial.output}) + "\n")
        if trial.trouble:
            print(f"{name}: {trial.fault}: {trial.trouble}", file=sys.stderr)
        bench.commands = []
    return tried, survived


def read_rows(path: pathlib.Path) -> dict[str, tuple[int, int]]:
    """The rows of an earlier table, by title."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {row[0]: (int(row[1]), int(row[2])) for row in cells if row[-1].isdecimal()}
    return {title: found[title] for title, *_ in CLASSES.values() if title in found}


def table(rows: dict[str, tuple[int, int]]) -> str:
    """The result as markdown, of title -> tries and those that were survived."""
    lines = [
        "# Which faults are survived",
        "",
        "Survived: the command succeeds with the right result, or refuses in a few lines that",
        "name the file or the field; without a traceback, a hang, or data that are lost or",
        "changed. After a kill the same command goes on to the result of one that was not killed,",
        "bit for bit.",
        "",
        "```bash\npython docs/benchmarks/faults.py --out=docs/results/faults.md\n```",
        "",
        f"{os.cpu_count()} cores of {processor()}, jax {jax.__version__}, Python"
        f" {platform.python_version()}; a network of the trunk `tiny`, crops of 64 x 64.",
        "",
        "| fault | tries | survived |",
        "|---|---:|---:|",
    ]
    lines += [f"| {title} | {tried} | {good} |" for title, (tried, good) in rows.items()]
    return "\n".join(lines) + "\n"


def processor() -> str:
    """What /proc/cpuinfo calls it."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
