"""The mesh, and how batches and state lie on it: every PartitionSpec of the project."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

_AXES = ("data", "spatial")
_AXIS_TYPES = (AxisType.Auto,) * 2


def make_mesh(data: int, spatial: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh ('data', 'spatial') of devices.

    Args:
      data: number of devices that divide the batch; -1 for all that `spatial` leaves.
      spatial: number of devices that divide the rows of an image.
      devices: the devices; those of all processes if it is left out.

    Raises:
      ValueError: the product is not the number of devices, or `spatial` does not divide those of a
        process.
    """
    devices = jax.devices() if devices is None else devices
    if data == -1:
        data, left_over = divmod(len(devices), spatial)
        if left_over:
            raise ValueError(
                f"mesh.spatial is {spatial}, but there are {len(devices)} devices"
                f" ({devices[0].platform}); expected a divisor of {len(devices)}"
            )
    if data * spatial != len(devices):
        raise ValueError(
            f"mesh.data x mesh.spatial is {data} x {spatial}, but there are {len(devices)} devices"
            f" ({devices[0].platform}); their product must be the number of devices"
        )
    if len({device.process_index for device in devices}) > 1:
        return _mesh_by_process(data, spatial, devices)
    return jax.make_mesh((data, spatial), _AXES, axis_types=_AXIS_TYPES, devices=devices)


def _mesh_by_process(data: int, spatial: int, devices: Sequence[jax.Device]) -> Mesh:
    """A mesh on which each process has whole rows, one after the other.

    A process reads whole images. It can place all their rows only if the devices that divide them
    are its own, which `jax.make_mesh` does not guarantee.
    """
    grid = np.array(sorted(devices, key=lambda device: device.process_index)).reshape(data, spatial)
    for row in grid:
        if len({device.process_index for device in row}) > 1:
            owners = collections.Counter(device.process_index for device in devices)
            fewest = min(owners.values())
            raise ValueError(
                f"mesh.spatial is {spatial}, but the rows of an image are shared out among the"
                f" devices of one process, which has {fewest}; expected a divisor of {fewest}, or"
                " start fewer processes with more devices each"
            )
    return Mesh(grid, _AXES, axis_types=_AXIS_TYPES)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def whole_images(mesh: Mesh) -> NamedSharding:
    """Each device holds whole images: the batch over all devices, those of 'spatial' too."""
    return NamedSharding(mesh, PartitionSpec(_AXES))


def image_rows(mesh: Mesh) -> NamedSharding:
    """The batch over 'data', the rows of each image over 'spatial'."""
    return NamedSharding(mesh, PartitionSpec("data", "spatial"))


def accumulated_image_rows(mesh: Mesh) -> NamedSharding:
    """The same for `[accumulate, B / accumulate, H, ...]`, whose first axis is one of time."""
    return NamedSharding(mesh, PartitionSpec(None, "data", "spatial"))


def training_batch(mesh: Mesh) -> dict[str, NamedSharding]:
    """The shardings of a training batch's arrays, by name."""
    return {"image": image_rows(mesh), "label": image_rows(mesh)}


def evaluation_batch(mesh: Mesh) -> dict[str, NamedSharding]:
    """The shardings of an evaluation batch's arrays, by name."""
    return dict.fromkeys(("image", "label", "size"), whole_images(mesh))


def put_equal(tree: Any, shardings: Any) -> Any:
    """Lays host arrays, which are equal in all processes, out on devices.

    Unlike `jax.device_put` it compares nothing over the processes, array after array, which takes
    longer the more there are (docs/results/startup.md).

    Args:
      tree: of arrays.
      shardings: one for all, or a tree of the same structure.
    """
    # One process has nothing to compare, and may only describe the devices that it compiles for.
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def put(value: Any, sharding: Sharding) -> jax.Array:
        array = np.asarray(value)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    if isinstance(shardings, Sharding):
        return jax.tree.map(lambda value: put(value, shardings), tree)
    return jax.tree.map(put, tree, shardings)


def of_one_device(tree: Any, mesh: Mesh) -> Any:
    """What one device holds of replicated arrays, as arrays of it alone: nothing travels.

    Args:
      tree: of arrays, each whole on every device.
      mesh: of one device of this process.
    """
    (device,) = mesh.devices.flat

    def own(array: jax.Array) -> jax.Array:
        (data,) = [shard.data for shard in array.addressable_shards if shard.device == device]
        return jax.make_array_from_single_device_arrays(array.shape, replicated(mesh), [data])

    return jax.tree.map(own, tree)


def put_batch(
    batch: Mapping[str, np.ndarray], shardings: Mapping[str, NamedSharding]
) -> dict[str, jax.Array]:
    """Joins what every process has read of a batch into global arrays.

    Args:
      batch: arrays of the images of this process, by name, such as uint8 `image` `[b, H, W, 3]`.
      shardings: of the arrays to put, such as `training_batch` returns; an array that the batch
        lacks is left out.
    """
    # With several processes JAX takes this transfer for one that nobody asked for.
    with jax.transfer_guard_host_to_device("allow"):
        return {
            name: jax.make_array_from_process_local_data(sharding, batch[name])
            for name, sharding in shardings.items()
            if name in batch
        }


def check_batch_size(field: str, batch_size: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless the 'data' devices divide the batch equally."""
    data = mesh.shape["data"]
    if batch_size % data:
        raise ValueError(
            f"{field} is {batch_size}; it must be a multiple of the {data} devices on the mesh"
            " axis 'data'"
        )


def check_rows(field: str, rows: int, coarsest_stride: int, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless each 'spatial' device gets enough rows.

    Each device needs two whole rows of the coarsest features. With one row, or with padded rows,
    the compiler returns wrong gradients wherever the batch is sharded too (jax 0.10.2: a gradient
    norm of 10.6 instead of 6.5 on a 4 x 2 mesh in float64, at an equal loss).

    Args:
      field: name of the field that holds the rows.
      rows: rows of the crop.
      coarsest_stride: rows of the crop for each row of the coarsest features.
      mesh: from `make_mesh`.
    """
    spatial = mesh.shape["spatial"]
    unit = coarsest_stride * spatial
    if spatial > 1 and (rows % unit or rows < 2 * unit):
        raise ValueError(
            f"{field} has {rows} rows; the {spatial} devices on the mesh axis 'spatial' need a"
            f" multiple of {unit}, at least {2 * unit}: two whole rows of the coarsest features"
            " for each device"
        )
