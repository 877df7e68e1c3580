"""What several processes do until `train` takes its first step, and for an evaluation.

    python docs/benchmarks/startup_commands.py

Runs `train` and `evaluate` on the painted streets in 1, 2 and 4 processes on this machine, one
after the other, each with one simulated device and a network of two convolutions. Counts how often
a process waits for the others or computes with them, and the records that all of them read, without
those that workers read for training batches; then the records once more where sizes and names of
images are not kept beside the data set.
"""

import collections
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from jax.experimental import multihost_utils
from jaxlib import _jax

import main as front_door
from data import heads, registry
from hmsa_jax.distributed import hosts
from hmsa_jax.models.trunks import TRUNKS
from tests import short_network

_BEGIN = time.monotonic()
_WITHOUT_HEADS = "--without-heads"
_SETTINGS = (
    *("--config=configs/street_scenes.py", "--config.steps=4", "--config.log_every=1"),
    *("--config.model.trunk=short", "--config.data.batch_size=4", "--config.evaluate.metrics=()"),
    *("--config.evaluate.protocols=('single',)", "--config.evaluate.images_per_device=5"),
)


def main() -> None:
    """Starts the processes and prints the table."""
    print(
        "| processes | until the first step, s | waits for each other | computations together |"
        " records read | records, evaluation | without heads.json |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        together(1, "build-data", f"--out={scratch}/data")
        for count in (1, 2, 4):
            flags = [f"--workdir={scratch}/{count}", f"--config.data.cache_dir={scratch}/data"]
            began = together(count, "train", *flags)
            scored = together(count, "evaluate", *flags)
            headless = together(count, "evaluate", *flags, _WITHOUT_HEADS)
            first = began[0]
            cells = [
                count,
                f"{first['seconds']:.1f}",
                first["waits"],
                first["computations"],
                *(sum(each["reads"] for each in ran) for ran in (began, scored, headless)),
            ]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)


def together(count: int, *arguments: str) -> list[dict]:
    """What each of so many processes counted while they ran a command together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        where = f"localhost:{free.getsockname()[1]},{count}"
    joined = [[f"--distributed={where},{i}"] if count > 1 else [] for i in range(count)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, *arguments, *flags, *_SETTINGS],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for flags in joined
    ]
    said = [process.communicate()[0] for process in processes]
    for process, output in zip(processes, said, strict=True):
        if process.returncode:
            sys.exit(output)
    return [json.loads(output.strip().splitlines()[-1]) for output in said]


def count(arguments: list[str]) -> None:
    """In one of the processes: runs a command; prints what it did until its first step or end."""
    counts: collections.Counter = collections.Counter()
    found: list[dict] = []

    def counted(owner, name, key):
        function = getattr(owner, name)

        def counting(*args, **options):
            counts[key] += 1
            return function(*args, **options)

        setattr(owner, name, counting)

    def figures():
        names = ("reads", "waits", "computations")
        return {"seconds": time.monotonic() - _BEGIN} | {name: counts[name] for name in names}

    wait_for_all = hosts.wait_for_all

    def waiting(moment, *options):
        wait_for_all(moment, *options)
        if moment == "train step":
            found.append(figures())

    hosts.wait_for_all = waiting
    counted(registry.EncodedSource, "__getitem__", "reads")
    counted(_jax.DistributedRuntimeClient, "wait_at_barrier", "waits")
    counted(multihost_utils, "process_allgather", "computations")
    counted(multihost_utils, "broadcast_one_to_all", "computations")
    if _WITHOUT_HEADS in arguments:
        arguments.remove(_WITHOUT_HEADS)
        heads.read = lambda data_dir, split: None
    TRUNKS.register("short", short_network.TRUNK)
    front_door.main(arguments)
    print(json.dumps(found[0] if found else figures()), flush=True)


if __name__ == "__main__":
    count(sys.argv[1:]) if len(sys.argv) > 1 else main()
