"""What JAX knows of several processes and has no public name for.

This is the only place that uses these private names; a test lists the versions that were tried.
"""

from typing import Any

from jax._src import clusters, distributed


def client() -> Any | None:
    """The client of the coordination service, or None unless several processes were joined.

    It has a key-value store and barriers.
    """
    return distributed.global_state.client


def address() -> str:
    """HOST:PORT at which the processes have found each other."""
    found = distributed.global_state.coordinator_address
    assert found is not None  # they have
    return found


def cluster_types() -> list[Any]:
    """The kinds of clusters in which JAX finds other processes by itself."""
    return clusters.ClusterEnv._cluster_types
