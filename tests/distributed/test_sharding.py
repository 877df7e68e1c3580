"""How arrays lie on a mesh of four devices for the batch and two for rows."""

import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding


@pytest.fixture(scope="module")
def mesh():
    return sharding.make_mesh(4, 2)


def test_mesh_must_use_all_devices():
    with pytest.raises(ValueError, match=r"mesh\.data x mesh\.spatial is 3 x 2.* 8 devices"):
        sharding.make_mesh(3, 2)
    with pytest.raises(ValueError, match=r"mesh\.spatial is 3, .* expected a divisor of 8"):
        sharding.make_mesh(-1, 3)
    assert sharding.make_mesh(-1, 2).shape == {"data": 4, "spatial": 2}


def test_batch_and_rows_must_divide(mesh):
    with pytest.raises(ValueError, match=r"data\.batch_size is 6.* multiple of the 4"):
        sharding.check_batch_size("data.batch_size", 6, mesh)
    for rows in (128, 300):
        with pytest.raises(ValueError, match=rf"crop_size has {rows} rows.* at least 256"):
            sharding.check_rows("data.crop_size", rows, 64, mesh)
    sharding.check_rows("data.crop_size", 256, 64, mesh)
    sharding.check_rows("data.crop_size", 100, 64, sharding.make_mesh(8, 1))


@pytest.mark.parametrize(
    ("lay", "piece"),
    [
        (sharding.replicated, (8, 8, 6)),
        (sharding.whole_images, (1, 8, 6)),
        (sharding.image_rows, (2, 4, 6)),
        (sharding.accumulated_image_rows, (8, 2, 3)),
    ],
)
def test_what_a_device_holds(mesh, lay, piece):
    assert lay(mesh).shard_shape((8, 8, 6)) == piece


@pytest.mark.parametrize("shardings", [sharding.training_batch, sharding.evaluation_batch])
def test_a_batch_is_put_as_its_step_takes_it(mesh, shardings):
    images = np.arange(8 * 4 * 6 * 3, dtype=np.uint8).reshape(8, 4, 6, 3)
    batch = {"image": images, "label": images[..., 0], "records": np.arange(8)}
    with jax.transfer_guard("disallow"):
        placed = sharding.put_batch(batch, shardings(mesh))
    assert placed.keys() == {"image", "label"}
    for name, array in placed.items():
        assert array.sharding == shardings(mesh)[name]
        np.testing.assert_array_equal(array, batch[name])
