"""Folded columns change nothing: each piece against its plain form or numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hmsa_jax.models import column_folding
from hmsa_jax.models.batch_norm import BatchNorm
from hmsa_jax.models.hrnet import Branch
from hmsa_jax.models.layers import Conv


def random(shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def test_folding_puts_pairs_of_columns_side_by_side():
    x = jnp.asarray(random((2, 3, 8, 5)))
    folded = column_folding.fold(x)
    assert folded.shape == (2, 3, 4, 10)
    np.testing.assert_array_equal(folded[0, 1, 2], np.concatenate([x[0, 1, 4], x[0, 1, 5]]))
    np.testing.assert_array_equal(column_folding.unfold(folded), x)


def test_folded_kernel_reads_two_of_three_pairs():
    """From the right column of the pair before to the left one of the pair after."""
    kernel = np.arange(1.0, 10).reshape(3, 3, 1, 1)
    folded = np.asarray(column_folding.fold_kernel(jnp.asarray(kernel)))[1]  # pair, from, to
    columns = folded.reshape(6, 2)  # the six columns of three pairs, in order
    np.testing.assert_array_equal(columns[:, 0], [0, 4, 5, 6, 0, 0])
    np.testing.assert_array_equal(columns[:, 1], [0, 0, 4, 5, 6, 0])


@pytest.mark.parametrize("channels", [18, 48, 64])
def test_folded_convolution_in_float32(channels):
    conv = Conv(
        channels, channels, kernel=3, bias=True, dtype=jnp.float32, rng=np.random.default_rng(0)
    )
    conv.bias.set_value(jnp.asarray(random(channels, seed=3), jnp.float32))
    x = jnp.asarray(random((1, 5, 8, channels)), jnp.float32)
    got = column_folding.unfold(conv(column_folding.fold(x), folded=True))
    np.testing.assert_allclose(got, conv(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"kernel": 1}, {"stride": 2}, {"dilation": 2}])
def test_other_convolutions_are_refused(options):
    options = {"kernel": 3} | options
    conv = Conv(4, 4, dtype=jnp.float32, rng=np.random.default_rng(0), **options)
    with pytest.raises(ValueError, match="is not for folded columns"):
        conv(jnp.zeros((1, 4, 4, 8)), folded=True)


@pytest.mark.parametrize("group", [0, 1])
def test_statistics_are_those_of_both_columns(group):
    x = random((2, 3, 8, 5)) * random(5, seed=2) + np.float64([[[[1]]], [[[2]]]])
    x[:, :, ::2] += 3  # the columns of a pair differ
    with jax.enable_x64(True):
        layer = BatchNorm(5, dtype=jnp.float64)
        layer.group = group
        nnx.update(layer, jax.tree.map(lambda v: v.astype(jnp.float64), nnx.state(layer)))
        y = column_folding.unfold(
            layer(column_folding.fold(jnp.asarray(x)), train=True, folded=True)
        )
        evaluated = layer(column_folding.fold(jnp.asarray(x)), train=False, folded=True)
        evaluated = column_folding.unfold(evaluated)
    groups = [x] if group == 0 else [x[:1], x[1:]]
    axes = (0, 1, 2)
    expected = [(g - g.mean(axes)) / np.sqrt(g.var(axes) + 1e-5) for g in groups]
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=1e-10, atol=1e-10)
    mean = 0.1 * np.mean([g.mean(axes) for g in groups], 0)
    var = 0.9 + 0.1 * np.mean([g.var(axes, ddof=1) for g in groups], 0)
    np.testing.assert_allclose(layer.mean.get_value(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.var.get_value(), var, rtol=1e-12)
    np.testing.assert_allclose(evaluated, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-10, atol=1e-10)


def run_branch(channels, columns, *, fold_columns):
    """Loss, gradients and running statistics of two blocks in float64, and their convolutions."""
    rng = np.random.default_rng(0)
    branch = Branch(channels, 2, fold_columns=fold_columns, dtype=jnp.float64, rng=rng)
    graphdef, params, statistics = nnx.split(branch, nnx.Param, nnx.BatchStat)
    params, statistics = jax.tree.map(lambda v: v.astype(jnp.float64), (params, statistics))
    x, weights = random((2, 6, columns, channels)), random((2, 6, columns, channels), seed=2)

    def loss(params, x):
        branch = nnx.merge(graphdef, params, statistics, copy=True)
        y = branch(x, train=True)
        return (weights * y).sum(), nnx.to_pure_dict(nnx.state(branch, nnx.BatchStat))

    traced = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True)).trace(params, x)
    return traced.lower().compile()(params, x), str(traced.jaxpr)


@pytest.mark.parametrize("channels", [18, 48])
def test_folded_branch_has_the_same_gradients_and_statistics(channels):
    with jax.enable_x64(True):
        expected, plain = run_branch(channels, 8, fold_columns=False)
        got, program = run_branch(channels, 8, fold_columns=True)
    wide = f"f64[3,3,{2 * channels},{2 * channels}]"
    assert wide in program
    assert wide not in plain
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), got, expected
    )


@pytest.mark.parametrize(("channels", "columns"), [(16, 7), (64, 8)])
def test_odd_columns_and_wide_features_stay_as_they_are(channels, columns):
    with jax.enable_x64(True):
        _, plain = run_branch(channels, columns, fold_columns=False)
        _, program = run_branch(channels, columns, fold_columns=True)
    assert program == plain


def test_auto_folds_on_a_tpu():
    wanted = {
        (setting, platform): column_folding.is_wanted(setting, platform)
        for setting in column_folding.SETTINGS
        for platform in ("tpu", "gpu", "cpu")
    }
    assert {key for key, fold in wanted.items() if fold} == {
        ("auto", "tpu"),
        *(("always", platform) for platform in ("tpu", "gpu", "cpu")),
    }
