"""The step on a mesh of devices equals the step on one; `test_spatial` has HRNet in it."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest

from hmsa_jax.distributed import sharding
from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import fusion, multiscale
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.training import optimizer, state
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.step import make_train_step
from tests import least_networks
from tests.exchanges import assert_edges_and_sums_only

CLASSES = 5
ARCHITECTURE = multiscale.Architecture(
    "short", CLASSES, ocr_channels=16, ocr_key_channels=8, head_channels=8, dropout=0.5
)
NUMBERS = Hyperparameters(
    seed=0, learning_rate=0.05, poly_exponent=0.9, steps=10, weight_decay=1e-4
)
OBJECTIVE = Objective(main_loss="cross_entropy", scale_weight=0.05)


def run(
    mesh,
    dtype,
    steps,
    architecture=ARCHITECTURE,
    objective=OBJECTIVE,
    frozen=(),
    network=None,
    scales=(0.5, 1.0),
    **extras,
):
    """A few steps from one seed; returns state, metrics of each step and the compiled step.

    `network` holds further arguments of `multiscale.initialize`, `extras` of `make_train_step`.
    """
    network = {"dtype": dtype, "remat": "none", "seed": 0} | (network or {})
    graphdef, *values = multiscale.initialize(architecture, **network)
    if dtype == "float64":
        values = jax.tree.map(lambda x: x.astype(dtype), values)
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9, frozen=frozen)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    ema = "ema_decay" in extras
    current = state.initial_state(*values, sgd, sharding.replicated(mesh), ema=ema)
    step = make_train_step(
        graphdef,
        make_sgd,
        mesh,
        scales=scales,
        objective=objective,
        frozen=frozen,
        **extras,
    )
    batch = sharding.put_batch(a_batch(), sharding.training_batch(mesh))
    numbers = NUMBERS.on(sharding.replicated(mesh))
    compiled = step.lower(current, numbers, batch).compile()
    metrics = []
    for _ in range(steps):
        current, figures = compiled(current, numbers, batch)
        metrics.append(jax.device_get(figures))
    return jax.device_get(current), metrics, compiled


def a_batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (4, 256, 32), np.uint8)
    labels[0, :20] = 255  # so that the devices have unequal numbers of labelled pixels
    return {"image": rng.integers(0, 256, (4, 256, 32, 3), np.uint8), "label": labels}


# In float64: BatchNorm over the few pixels of a small crop magnifies rounding.
@pytest.fixture(scope="module")
def on_one_device(short_trunk):
    with jax.enable_x64(True):
        return run(sharding.make_mesh(1, 1, jax.devices()[:1]), "float64", steps=2)


@pytest.fixture(scope="module")
def on_eight_devices(short_trunk):
    with jax.enable_x64(True):
        return run(sharding.make_mesh(4, 2), "float64", steps=2)


def test_sharded_equals_unsharded(on_one_device, on_eight_devices):
    """Batch over 4 devices, rows over 2: same loss, gradients, weights and global statistics."""
    assert_equal_runs(on_one_device, on_eight_devices)


def test_sharded_deeplab_equals_unsharded():
    """Its pyramid sees 36 rows away, further than a device has rows."""
    architecture = multiscale.Architecture("least", CLASSES, attention="none")
    objective = Objective("cross_entropy", aux_weight=0.0)
    with TRUNKS.holding("least", least_networks.RESNET):
        assert_sharding_changes_nothing(architecture, objective, scales=(1.0,))


def test_sharded_explicit_attention_equals_unsharded(short_trunk):
    """The features of all scales meet in one head."""
    architecture = dataclasses.replace(ARCHITECTURE, attention="explicit", scales=(0.5, 1))
    objective = Objective("cross_entropy", fuse=fusion.explicit)
    assert_sharding_changes_nothing(architecture, objective)


def assert_sharding_changes_nothing(architecture, objective, **options):
    meshes = sharding.make_mesh(1, 1, jax.devices()[:1]), sharding.make_mesh(4, 2)
    with jax.enable_x64(True):
        one, eight = (
            run(mesh, "float64", 1, architecture, objective, **options) for mesh in meshes
        )
    assert_equal_runs(one, eight)


def assert_equal_runs(one, eight):
    one, one_metrics, _ = one
    eight, eight_metrics, _ = eight
    for a, b in zip(one_metrics, eight_metrics, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-7, err_msg=name)
    paths = jax.tree_util.tree_leaves_with_path(one)
    for (path, a), b in zip(paths, jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8, err_msg=str(path))


def test_state_is_replicated_and_reduced(on_eight_devices):
    _, _, compiled = on_eight_devices
    state_shardings = jax.tree.leaves(compiled.output_shardings[0])
    assert all(s.is_fully_replicated for s in state_shardings)
    assert "all-reduce" in compiled.as_text()


def test_rows_exchange_edges_and_sums_only(on_eight_devices):
    current, _, compiled = on_eight_devices
    params = jax.tree.leaves(current.params)
    assert_edges_and_sums_only(compiled, params, narrow=CLASSES, rows=2)


def test_state_memory_is_reused(on_one_device):
    current, _, compiled = on_one_device
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(current))
    assert compiled.memory_analysis().alias_size_in_bytes >= size


def test_gradients_are_laid_out_as_their_parameters(short_trunk):
    """Else the optimizer copies parameters and momentum into the layout of a convolution's."""
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    graphdef, *values = multiscale.initialize(ARCHITECTURE, dtype="bfloat16", remat="none", seed=0)
    make_sgd = functools.partial(optimizer.sgd, momentum=0.9)
    step = make_train_step(graphdef, make_sgd, mesh, scales=(0.5, 1.0), objective=OBJECTIVE)
    sgd = make_sgd(NUMBERS.schedule, weight_decay=NUMBERS.weight_decay)
    current = state.initial_state(*values, sgd, sharding.replicated(mesh), ema=False)
    text = step.lower(current, NUMBERS, a_batch()).as_text()
    laid_out = re.findall(r"@LayoutConstraint.*result_layouts = \[dense<(.*)> : tensor", text)
    params = jax.tree.leaves(current.params)
    in_order = [str([*reversed(range(param.ndim))]) for param in params if param.ndim > 1]
    assert sorted(order for order in laid_out if "," in order) == sorted(in_order)


def test_step_counts_and_learns(on_one_device):
    current, metrics, _ = on_one_device
    assert int(current.step) == 2
    assert set(metrics[0]) == {"loss", "main", "aux", "scales", "grad_norm"}
    assert metrics[1]["loss"] < metrics[0]["loss"]


def test_extras_all_at_once(on_one_device):
    """A frozen trunk, two parts a batch on four devices, BatchNorm of each image, an average."""
    plain = dataclasses.replace(ARCHITECTURE, dropout=0.0)  # parts have dropout of their own
    network = {"batch_norm_group": 1}
    extras = {"architecture": plain, "frozen": ("trunk",), "ema_decay": 0.75, "network": network}
    mesh, four = (
        sharding.make_mesh(1, 1, jax.devices()[:1]),
        sharding.make_mesh(2, 2, jax.devices()[:4]),
    )
    with jax.enable_x64(True):
        one = run(mesh, "float64", 2, accumulate=2, **extras)
        assert_equal_runs(one, run(four, "float64", 2, accumulate=2, **extras))
        _, initial, _ = multiscale.initialize(plain, dtype="float32", remat="none", seed=0)
    last, metrics, _ = one
    jax.tree.map(np.testing.assert_array_equal, last.params["trunk"], initial["trunk"])
    moved = jax.tree.map(lambda a, b: (a != b).any(), last.params["decoder"], initial["decoder"])
    assert all(jax.tree.leaves(moved))
    assert metrics[1]["loss"] < metrics[0]["loss"]
    # An image's statistics differ from the batch's, but not by much: the loss is near.
    _, (whole, _), _ = on_one_device
    np.testing.assert_allclose(metrics[0]["loss"], whole["loss"], rtol=0.05)


def test_bfloat16_keeps_float32_state_and_the_moving_average_lags_behind(
    on_one_device,
):
    """After one step the average is 3/4 the initial weights and 1/4 the new ones."""
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    last, metrics, _ = run(mesh, "bfloat16", 1, ARCHITECTURE, ema_decay=0.75)
    leaves = jax.tree.leaves(last)
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32"), np.dtype("int32")}
    _, reference, _ = on_one_device
    np.testing.assert_allclose(metrics[0]["loss"], reference[0]["loss"], rtol=0.05)

    assert last.eval_params is last.ema_params
    _, initial, statistics = multiscale.initialize(
        ARCHITECTURE, dtype="float32", remat="none", seed=0
    )
    assert last.eval_batch_stats is last.ema_batch_stats
    of_all = (
        (last.ema_params, last.ema_batch_stats),
        (initial, statistics),
        (last.params, last.batch_stats),
    )
    for average, old, new in zip(*map(jax.tree.leaves, of_all), strict=True):
        np.testing.assert_allclose(average, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-7)


def test_augmentation_comes_before_normalisation_with_a_key_a_step(monkeypatch):
    """Network and loss are set aside: the loss is the first red that the network is given."""
    monkeypatch.setattr(multiscale, "apply", lambda g, params, stats, x, *_, **__: (x, stats))
    mesh = sharding.make_mesh(1, 1, jax.devices()[:1])
    sgd = optimizer.sgd(NUMBERS.schedule, momentum=0.9, weight_decay=0.0)
    step = make_train_step(
        None,
        functools.partial(optimizer.sgd, momentum=0.9),
        mesh,
        scales=(1.0,),
        objective=lambda x, labels: (x[0, 0, 0, 0], {}),
        augment=lambda key, images: images * 0 + 255 * jax.random.uniform(key),
    )

    def losses(seed=0):
        numbers = dataclasses.replace(NUMBERS, seed=seed).on(sharding.replicated(mesh))
        params = {"trunk": {"kernel": np.ones((1, 1), np.float32)}}
        current = state.initial_state(params, {}, sgd, sharding.replicated(mesh))
        for _ in range(20):
            batch = sharding.put_batch(a_batch(), sharding.training_batch(mesh))
            current, metrics = step(current, numbers, batch)
            yield float(metrics["loss"])

    normalised = list(losses())
    assert normalised == list(losses())
    assert normalised != list(losses(seed=1))
    drawn = 0.229 * np.array(normalised) + 0.485
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(np.unique(drawn)) == 20
