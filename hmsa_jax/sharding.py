"""The mesh, and how batches and state lie on it."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(data: int, spatial: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh ('data', 'spatial') of devices.

    Args:
      data: devices that share out the batch; -1 for all that `spatial` leaves.
      spatial: devices that share out the rows of an image.
      devices: the devices; those of all processes if it is left out.

    Raises:
      ValueError: the product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    if data == -1:
        data = len(devices) // spatial
    if data * spatial != len(devices):
        raise ValueError(
            f"mesh.data x mesh.spatial is {data} x {spatial}, but there are {len(devices)} devices"
            f" ({devices[0].platform}); their product must be the number of devices"
        )
    return jax.make_mesh(
        (data, spatial), ("data", "spatial"), axis_types=(AxisType.Auto,) * 2, devices=devices
    )


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


def check_rows(field: str, rows: int, coarsest_stride: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless each 'spatial' device gets enough rows.

    Of the coarsest features it needs two whole rows. With one, or with a padded share, the
    compiler returns wrong gradients wherever the batch is sharded too (jax 0.10.2: a gradient norm
    of 10.6 instead of 6.5 on a 4 x 2 mesh in float64, at an equal loss).

    Args:
      field: name of the field that holds the rows.
      rows: rows of the crop.
      coarsest_stride: rows of the crop for each row of the coarsest features.
      mesh: from `make_mesh`.
    """
    spatial = mesh.shape["spatial"]
    share = coarsest_stride * spatial
    if spatial > 1 and (rows % share or rows < 2 * share):
        raise ValueError(
            f"{field} has {rows} rows; the {spatial} devices on the mesh axis 'spatial' need a"
            f" multiple of {share}, at least {2 * share}: two whole rows of the coarsest features"
            " for each device"
        )
