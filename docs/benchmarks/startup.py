"""What it takes several processes to lay the first state of a network out on their devices.

    python docs/benchmarks/startup.py --trunk=w48

Starts 1, 2 and 4 processes on this machine, one after the other, each with one simulated device,
and prints the seconds from the drawn weights to the state on the devices: as training does it, and
as `jax.device_put` does, which compares every array over all processes.
"""

import argparse
import socket
import subprocess
import sys
import time

import jax
import optax

from configs import base
from hmsa_jax.distributed import hosts, joining, sharding
from hmsa_jax.experiment import experiment
from hmsa_jax.training import state as state_lib


def main(trunk: str) -> None:
    """Starts the processes and prints the table."""
    print("| processes | as training does it, s | by jax.device_put, s |\n|---|---:|---:|")
    for count in (1, 2, 4):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            where = f"localhost:{free.getsockname()[1]},{count}"
        command = [sys.executable, __file__, f"--trunk={trunk}"]
        processes = [
            subprocess.Popen([*command, f"--how={where},{i}"], stdout=subprocess.PIPE, text=True)
            for i in range(count)
        ]
        said = [process.communicate()[0] for process in processes]
        print(f"| {count} | {said[0].strip().splitlines()[-1]} |", flush=True)


def measure(trunk: str, how: str) -> None:
    """In one of the processes: times both ways."""
    with joining.joined(how):
        config = base.get_config()
        config.model.trunk, config.data.name = trunk, "street_scenes"
        drawn = experiment.assemble(config)
        seconds = []
        for name, put in (("training", sharding.put_equal), ("device_put", jax.device_put)):
            state_lib.put_equal = put
            hosts.wait_for_all(f"begin of {name}", minutes=30)
            begin = time.monotonic()
            state = state_lib.initial_state(
                drawn.params, drawn.batch_stats, optax.sgd(0.1), sharding.replicated(drawn.mesh)
            )
            jax.block_until_ready(state)
            hosts.wait_for_all(f"end of {name}", minutes=30)
            seconds.append(time.monotonic() - begin)
        print(" | ".join(f"{x:.1f}" for x in seconds), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trunk", default="w48")
    parser.add_argument("--how", help="for the processes that are started")
    args = parser.parse_args()
    measure(args.trunk, args.how) if args.how else main(args.trunk)
