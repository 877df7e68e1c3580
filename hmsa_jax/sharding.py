"""The mesh, and how batches and state lie on it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(data: int, spatial: int) -> Mesh:
    """A mesh ('data', 'spatial') over all devices of all processes.

    Args:
      data: devices that share out the batch; -1 for all that `spatial` leaves.
      spatial: devices that share out the rows of an image.

    Raises:
      ValueError: the product is not the number of devices.
    """
    devices = jax.device_count()
    if data == -1:
        data = devices // spatial
    if data * spatial != devices:
        raise ValueError(
            f"mesh.data x mesh.spatial is {data} x {spatial}, but there are {devices} devices"
            f" ({jax.default_backend()}); their product must be the number of devices"
        )
    return jax.make_mesh((data, spatial), ("data", "spatial"), axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """Images and labels: the batch over 'data', rows over 'spatial'."""
    rows = NamedSharding(mesh, PartitionSpec("data", "spatial"))
    return {"image": rows, "label": rows}


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Joins every process's rows of a batch into global arrays.

    Args:
      batch: `image` `[b, H, W, 3]` and `label` `[b, H, W]`, uint8, this process's share.
      mesh: from `make_mesh`.
    """
    return {
        name: jax.make_array_from_process_local_data(sharding, batch[name])
        for name, sharding in batch_shardings(mesh).items()
    }


def check_batch_size(field: str, batch_size: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless the 'data' devices share the batch equally."""
    data = mesh.shape["data"]
    if batch_size % data:
        raise ValueError(
            f"{field} is {batch_size}; it must be a multiple of the {data} devices on the mesh"
            " axis 'data'"
        )


def check_rows(field: str, rows: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless the 'spatial' devices share the rows equally."""
    spatial = mesh.shape["spatial"]
    if rows % spatial:
        raise ValueError(
            f"{field} has {rows} rows; they must be a multiple of the {spatial} devices on the"
            " mesh axis 'spatial'"
        )
