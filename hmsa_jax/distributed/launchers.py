"""What a launcher of several processes, such as Slurm, says in the environment of each."""

import dataclasses
import os
import re
from typing import Any

from hmsa_jax.distributed import coordination

# How JAX calls those that are evident from the environment of a process alone.
TITLES = {"slurm": "Slurm", "ompi": "Open MPI", "gketpu": "GKE", "gcetpu": "A TPU VM"}

# Where an `mpirun` says how many processes it runs, and which of them this is.
_MPI = (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"))


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of this process among those that run one command.

    Attributes:
      launcher: whoever gave it this place, in words.
      address: HOST:PORT of process 0.
      count: number of processes.
      index: of this one.
      devices: numbers of the GPUs of this machine that are its own; None: all of them.
    """

    launcher: str
    address: str
    count: int
    index: int
    devices: list[int] | None = None


def evident() -> Any | None:
    """What started this process, as JAX knows it; None if nothing did that starts several.

    Raises:
      ValueError: it is one of several processes of a launcher that JAX does not know.
    """
    known = (c for c in coordination.cluster_types() if c.name in TITLES)
    found = next((cluster for cluster in known if cluster.is_env_present()), None)
    name = "" if found is None else found.name
    # Slurm may have started Open MPI's daemons, and Open MPI this process.
    for count, index in () if name == "ompi" else _MPI[:1] if name else _MPI:
        if int(os.environ.get(count, 1)) > 1:
            raise ValueError(
                f"mpirun runs {os.environ[count]} of these processes, but only Open MPI 4 tells JAX"
                " where the first one is. Let a shell in each of them put in"
                f" --distributed=HOST:PORT,${count},${index}, or type --distributed=off if each"
                " works by itself; see docs/hosts.md"
            )
    return found


def place(launcher: Any, patience: int) -> Place | None:
    """The place that a launcher gave to this process; None where only JAX asks for it: on TPUs.

    A process that is alone on its machine has all GPUs there, of which JAX would give it one;
    JAX_LOCAL_DEVICE_IDS, which JAX reads, names others.

    Args:
      launcher: what `evident` returns.
      patience: seconds in which all processes have to start.
    """
    if launcher.name not in ("slurm", "ompi"):
        return None
    port = os.environ.get("JAX_COORDINATOR_PORT")
    return Place(
        TITLES[launcher.name],
        os.environ.get("JAX_COORDINATOR_ADDRESS")
        or launcher.get_coordinator_address(patience, port),
        launcher.get_process_count(),
        launcher.get_process_id(),
        None if _has_all_devices(launcher) else [launcher.get_local_process_id()],
    )


def _has_all_devices(launcher: Any) -> bool:
    if os.environ.get("JAX_LOCAL_DEVICE_IDS"):
        return True  # that are named
    if launcher.name == "ompi":
        return os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == "1"
    tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # like 1(x4): one on each of four nodes
    return bool(re.fullmatch(r"1(\(x\d+\))?", tasks))
