"""Rows of an image over devices: what one device computes, and only edges and sums exchanged.

`test_step` has two scales and the attention between them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.decoders.deeplab import DeepLab
from hmsa_jax.models.layers import convolution, resize
from hmsa_jax.models.layers.conv import Conv
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.layers.resize import resize_bilinear
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.training import optimizer, state
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.step import make_train_step
from tests import least_networks, other_forms
from tests.exchanges import assert_edges_and_sums_only, exchanges

CLASSES = 5
ROWS, COLUMNS = 256, 32  # two rows of the coarsest features on each of 4 devices
ARCHITECTURE = multiscale.Architecture(
    "least",
    CLASSES,
    attention="none",
    semantic_head="published",
    ocr_channels=16,
    ocr_key_channels=8,
    head_channels=8,
    dropout=0.5,
)
OBJECTIVE = Objective(main_loss="rmi", aux_loss="cross_entropy")
NUMBERS = Hyperparameters(seed=0, learning_rate=0.1, poly_exponent=1.0, steps=10, weight_decay=0.0)
NARROW = 9  # channels that logits do not exceed, nor columns of the loss's maps


def mesh_of(spatial):
    return sharding.make_mesh(1, spatial, jax.devices()[:spatial])


def step_on(data, spatial):
    """A step on two images: the state after it, the metrics and the program."""
    mesh = sharding.make_mesh(data, spatial, jax.devices()[: data * spatial])
    graphdef, *values = multiscale.initialize(ARCHITECTURE, dtype="float64", remat="none", seed=0)
    values = jax.tree.map(lambda x: x.astype("float64"), values)
    # Without decay the momentum after the first step is the gradient.
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    current = state.initial_state(*values, sgd, sharding.replicated(mesh))
    step = make_train_step(graphdef, make_sgd, mesh, scales=(1.0,), objective=OBJECTIVE)
    numbers = NUMBERS.on(sharding.replicated(mesh))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (2, ROWS, COLUMNS), np.uint8)
    labels[0, :20] = 255  # so that the devices have unequal numbers of labelled pixels
    images = rng.integers(0, 256, (2, ROWS, COLUMNS, 3), np.uint8)
    batch = sharding.put_batch({"image": images, "label": labels}, sharding.training_batch(mesh))
    program = step.lower(current, numbers, batch).compile()
    return *jax.device_get(program(current, numbers, batch)), program


# In float64: BatchNorm over the few pixels of a small crop magnifies rounding.
@pytest.fixture(scope="module")
def on_one_device():
    with TRUNKS.holding("least", least_networks.HRNET), jax.enable_x64(True):
        yield step_on(1, 1)


@pytest.fixture(scope="module", params=[(1, 2, "windows"), (2, 4, "rows")])
def shared_out(request, on_one_device):
    """Convolutions in the form for GPUs, and in that for TPUs; on one device in that for CPUs."""
    data, spatial, form = request.param
    convolutions = {
        "of_windows": getattr(convolution, f"of_{form}"),
        "gradients_by_products": getattr(convolution, f"gradients_of_{form}"),
    }
    enlarging = other_forms.taken(resize, _phase_by_phase=resize._phases_at_once)
    with jax.enable_x64(True), enlarging, other_forms.taken(convolution, **convolutions):
        return step_on(data, spatial)


def assert_equal_trees(got, expected, *, rtol, atol):
    paths = jax.tree_util.tree_leaves_with_path(expected)
    for (path, a), b in zip(paths, jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=str(path))


def test_step_equals_that_of_one_device(on_one_device, shared_out):
    """The loss and its terms, every gradient and weight, and all running statistics."""
    assert_equal_trees(shared_out[1], on_one_device[1], rtol=1e-9, atol=0)
    assert_equal_trees(shared_out[0], on_one_device[0], rtol=1e-7, atol=1e-10)


def test_step_exchanges_edges_and_sums_only(shared_out):
    current, _, program = shared_out
    # Pooling in the loss makes 65 rows of 256.
    assert_edges_and_sums_only(program, jax.tree.leaves(current.params), narrow=NARROW, rows=10)


def kinds(function, shape, spatial):
    """What a linear function of `[B, H, W, C]` exchanges over rows, and what its transpose does."""
    mesh = mesh_of(spatial)

    def rows_of(x):
        axes = ("data", "spatial") if x.shape[1] > 1 else ("data",)
        return NamedSharding(mesh, PartitionSpec(*axes))

    def compiled_kinds(function, x):
        y = jax.eval_shape(function, x)
        step = jax.jit(function, in_shardings=rows_of(x), out_shardings=rows_of(y))
        return [kind for kind, _ in exchanges(step.lower(x).compile())], y

    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    forward, y = compiled_kinds(function, x)
    backward, _ = compiled_kinds(lambda y: jax.vjp(function, jnp.zeros_like(x))[1](y)[0], y)
    return forward, backward


def layer_of(kernel, stride=1, dilation=1):
    rng = np.random.default_rng(0)
    settings = {"kernel": kernel, "stride": stride, "dilation": dilation}
    return Conv(4, 4, Layer(jnp.dtype("float32"), rng), **settings)


@pytest.mark.parametrize("spatial", [2, 4])
@pytest.mark.parametrize(
    ("layer", "permutes"),
    [
        (layer_of(1), 0),
        (layer_of(3), 2),
        (layer_of(3, stride=2), 1),
        (layer_of(3, dilation=4), 2),
        (layer_of(7, stride=2), 2),
    ],
)
def test_convolution_passes_on_an_edge_or_two(layer, permutes, spatial):
    expected = ["collective-permute"] * permutes
    assert kinds(layer, (1, 32, 6, 4), spatial) == (expected, expected)


@pytest.mark.parametrize("spatial", [2, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 4)])
def test_rows_as_images_pass_on_an_edge_or_two(stride, dilation, spatial):
    """The form for TPUs."""
    kernel = jnp.ones((3, 3, 4, 4), jnp.float32)

    def convolve(x):
        return convolution.of_rows(x, kernel, stride, dilation)

    one, both = ["collective-permute"], ["collective-permute"] * 2
    assert kinds(convolve, (1, 32, 6, 4), spatial) == (one if stride == 2 else both, both)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("form", ["gradients_of_windows", "gradients_by_products"])
def test_the_gradient_of_a_kernel_needs_edges_and_a_sum(form, stride):
    mesh, rng = mesh_of(4), np.random.default_rng(0)
    rows = NamedSharding(mesh, PartitionSpec("data", "spatial"))
    x, g = rng.random((1, 32, 6, 4)), rng.random((1, 32 // stride, 6 // stride, 5))
    kernel = rng.random((3, 3, 4, 5))

    def of_kernel(x, g):
        return getattr(convolution, form)(x, kernel, g, stride, 1)[1]

    with jax.enable_x64(True):
        program = jax.jit(of_kernel, in_shardings=(rows, rows)).lower(x, g).compile()
        got = program(*(jax.device_put(each, rows) for each in (x, g)))
        np.testing.assert_allclose(got, of_kernel(x, g), rtol=1e-12)
    kinds = [kind for kind, _ in exchanges(program)]
    assert set(kinds) == {"collective-permute", "all-reduce"}
    assert kinds.count("all-reduce") == 1


def test_window_beyond_a_share_may_gather_all_rows():
    """DeepLab's pyramid does, where a device has fewer than 36 rows of its features."""
    layer = layer_of(3, dilation=4)
    assert kinds(layer, (1, 16, 6, 4), 4) == (["collective-permute"] * 2,) * 2
    assert kinds(layer, (1, 8, 6, 4), 4) == (["all-gather"],) * 2


@pytest.mark.parametrize("spatial", [2, 4])
@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("form", ["_phase_by_phase", "_phases_at_once"])
def test_enlarging_passes_on_both_edges(form, factor, spatial):
    def enlarge(x):
        return resize_bilinear(x, (8 * factor, 5 * factor))

    both = ["collective-permute"] * 2
    with other_forms.taken(resize, _phase_by_phase=getattr(resize, form)):
        assert kinds(enlarge, (2, 8, 5, 40), spatial) == (both, both)


@pytest.mark.parametrize(
    ("source", "target", "forward", "backward"),
    [
        ((32, 12), (16, 6), [], []),
        ((32, 12), (8, 12), [], []),
        ((32, 12), (32, 9), [], []),  # columns are nobody else's
        ((1, 1), (32, 12), [], ["all-reduce"]),
        ((32, 12), (48, 12), ["all-gather"], ["all-reduce"] * 2),  # a ratio that is no factor
    ],
)
def test_other_resizing(source, target, forward, backward):
    resized = kinds(lambda x: resize_bilinear(x, target), (2, *source, 40), 4)
    assert resized == (forward, backward)


def pyramid_on(spatial):
    """DeepLab's decoder on 80 rows of coarse features: value, gradients and the program."""
    mesh = mesh_of(spatial)
    rng = np.random.default_rng(0)
    network = DeepLab(4, 6, Layer(jnp.dtype("float64"), rng))
    graphdef, params, statistics = nnx.split(network, nnx.Param, nnx.BatchStat)
    values = [nnx.to_pure_dict(x) for x in (params, statistics)]
    params, statistics = jax.tree.map(lambda x: x.astype("float64"), values)
    features = [rng.standard_normal((1, 80 * i, 3 * i, c)) for i, c in ((2, 4), (1, 6))]
    weights = rng.standard_normal((1, 160, 6, network.channels))

    def loss(params, features):
        network = nnx.merge(graphdef, params, statistics, copy=True)
        y, _ = network(features, train=True, dropout_key=None)
        moved = nnx.to_pure_dict(nnx.split(network, nnx.Param, nnx.BatchStat)[2])
        return (y * weights).sum(), (y, moved)

    rows = sharding.image_rows(mesh)
    step = jax.jit(
        jax.value_and_grad(loss, (0, 1), has_aux=True),
        in_shardings=(sharding.replicated(mesh), rows),
        out_shardings=((None, (rows, None)), (sharding.replicated(mesh), rows)),
    )
    program = step.lower(params, features).compile()
    return jax.device_get(program(params, features)), program


@pytest.fixture(scope="module")
def pyramid_on_one_device():
    with jax.enable_x64(True):
        return pyramid_on(1)[0]


# The widest window sees 36 rows away: a share is 40 rows, or 20.
@pytest.mark.parametrize(("spatial", "gathers"), [(2, 0), (4, 2)])
def test_deeplab_equals_that_of_one_device(pyramid_on_one_device, spatial, gathers):
    """Output, gradients and running statistics; one window gathers, once forward, once back."""
    with jax.enable_x64(True):
        got, program = pyramid_on(spatial)
    assert_equal_trees(got, pyramid_on_one_device, rtol=1e-9, atol=1e-9)
    found = [kind for kind, _ in exchanges(program)]
    assert set(found) <= {"collective-permute", "all-reduce", "all-gather"}
    assert found.count("all-gather") == gathers
