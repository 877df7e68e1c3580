"""What launchers say in the environment, and what comes of it.

The variables are those that Slurm 22.05, Open MPI 4.1 and Open MPI 5.0 set.
"""

import contextlib
import os
import socket

import jax
import pytest

from hmsa_jax.distributed import joining

SLURM = {
    "SLURM_JOB_ID": "4103",
    "SLURM_STEP_NODELIST": "node[1-4]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
OPEN_MPI_5 = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}
OPEN_MPI_4 = OPEN_MPI_5 | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"}
HYDRA = {"PMI_SIZE": "4", "PMI_RANK": "0"}  # of MPICH and Intel MPI


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher; there are no others of that kind."""
    for name in [n for n in os.environ if n.startswith(("SLURM_", "OMPI_", "PMI_", "JAX_COORD"))]:
        monkeypatch.delenv(name)

    def set_to(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.fixture
def initialized(monkeypatch):
    """What JAX is told of the processes, in place of joining them."""
    told = {}
    monkeypatch.setattr(jax.distributed, "initialize", told.update)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    return told


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 1),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, 1),  # of a shell in an allocation
        (SLURM | {"SLURM_NTASKS": "1"}, 1),
        (OPEN_MPI_5 | {"OMPI_COMM_WORLD_SIZE": "1"}, 1),
        (SLURM, 4),
        (SLURM | HYDRA, 4),  # as by srun --mpi=pmi2
        (OPEN_MPI_4, 4),
        (SLURM | {"SLURM_NTASKS": "2"} | OPEN_MPI_4, 4),  # mpirun by its daemons on two nodes
    ],
)
def test_a_cluster_is_joined_where_it_is_evident(
    variables, count, environment, initialized, capsys
):
    environment(variables)
    with joining.joined(None):
        assert initialized.get("num_processes", 1) == count
    assert (f"runs {count} of these processes" in capsys.readouterr().out) == (count > 1)


@pytest.mark.parametrize("how", [None, "auto"])
@pytest.mark.parametrize(
    ("variables", "place"),
    [
        (OPEN_MPI_5, "$OMPI_COMM_WORLD_SIZE,$OMPI_COMM_WORLD_RANK"),
        (SLURM | OPEN_MPI_5, "$OMPI_COMM_WORLD_SIZE,$OMPI_COMM_WORLD_RANK"),
        (HYDRA, "$PMI_SIZE,$PMI_RANK"),
    ],
)
def test_several_processes_do_not_take_each_other_for_alone(variables, place, how, environment):
    """Each would train the same run by itself."""
    environment(variables)
    with pytest.raises(ValueError, match="mpirun runs 4") as caught, joining.joined(how):
        pass
    assert f"--distributed=HOST:PORT,{place}, " in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "address", "devices"),
    [
        (SLURM, "node1:61447", None),  # 4103 modulo 4096, after 61440
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, "node1:61447", [0]),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1,3"}, "node1:61447", [0]),
        (SLURM | {"JAX_COORDINATOR_PORT": "8476"}, "node1:8476", None),
        (SLURM | {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476"}, "10.0.0.1:8476", None),
        (OPEN_MPI_4, "10.96.0.1:62624", [0]),
        (OPEN_MPI_4 | {"JAX_LOCAL_DEVICE_IDS": "0,1"}, "10.96.0.1:62624", None),
        (OPEN_MPI_4 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, "10.96.0.1:62624", None),
    ],
)
def test_a_process_that_is_alone_on_its_machine_has_all_devices(
    variables, address, devices, environment, initialized
):
    environment(variables)
    with joining.joined(None):
        assert initialized["coordinator_address"] == address
        assert initialized["local_device_ids"] == devices


def test_a_port_of_slurm_that_is_taken(environment):
    with contextlib.closing(socket.create_server(("localhost", 0))) as taken:
        port = taken.getsockname()[1]
        environment(SLURM | {"JAX_COORDINATOR_PORT": str(port)})
        refused = pytest.raises(ValueError, match=f"Slurm names port {port}, .*COORDINATOR_PORT=")
        with refused, joining.joined(None):
            pass


def test_a_node_of_slurm_that_nobody_finds(environment, monkeypatch):
    monkeypatch.setattr(joining, "_PATIENCE", 0.1)
    environment(SLURM | {"SLURM_PROCID": "1", "JAX_COORDINATOR_ADDRESS": "localhost:1"})
    refused = pytest.raises(ValueError, match="Slurm names localhost:1, where no process listens")
    with refused, joining.joined(None):
        pass
