"""Fields that are possible by themselves and rule each other out."""

import pytest

from hmsa_jax.config import schema


def load():
    return schema.base_config()


def one_image(config):
    config.data.batch_size = 1


def one_image_a_part(config):
    config.data.batch_size = config.optimizer.accumulate = 4


def one_image_a_group(config):
    config.model.batch_norm_group = 1


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (one_image, r"data\.batch_size=1 normalises"),
        (one_image_a_part, r"data\.batch_size=4 in optimizer\.accumulate=4 parts normalises"),
        (one_image_a_group, r"model\.batch_norm_group=1 normalises"),
    ],
)
def test_batch_norm_is_given_more_than_one_value(change, fields):
    """DeepLabV3+ normalises the mean of each image; HRNet's coarsest features may be one pixel."""
    config = load()
    change(config)
    schema.check(config)
    config.data.crop_size = (64, 64)
    with pytest.raises(ValueError, match=rf"{fields} .*data\.crop_size=\(64, 64\) at scale 0\.5"):
        schema.check(config)
    config.data.crop_size = (64, 65)
    schema.check(config)
    config.model.trunk, config.objective.aux_weight = "resnet50", 0.0
    with pytest.raises(ValueError, match=rf"{fields} .*model\.trunk='resnet50' goes with a pyr"):
        schema.check(config)


def test_several_scales_need_attention():
    config = load()
    config.model.attention = "none"
    with pytest.raises(ValueError, match=r"objective\.scales .* model\.attention='hierarchical'"):
        schema.check(config)
    config.objective.scales = (1.0,)
    schema.check(config)


def test_explicit_attention_evaluates_the_scales_it_was_trained_on():
    config = load()
    config.model.attention = "explicit"
    config.objective.scales = (2.0, 0.5, 1.0)
    config.evaluate.protocols = ("single", "explicit:0.5,1,2")
    schema.check(config)
    config.evaluate.protocols = ("explicit:0.5,1",)
    with pytest.raises(ValueError, match=r"explicit \(0\.5, 1\).* objective\.scales=\(0\.5, 1"):
        schema.check(config)


def test_batch_norm_groups_divide_what_is_normalised_together():
    config = load()
    config.data.batch_size, config.optimizer.accumulate = 16, 4
    config.model.batch_norm_group = 2
    schema.check(config)
    for group in (3, 8):
        config.model.batch_norm_group = group
        with pytest.raises(ValueError, match=rf"batch_norm_group is {group}; .*accumulate=4"):
            schema.check(config)


def test_deeplab_has_no_auxiliary_head():
    config = load()
    config.model.trunk = "resnet50"
    with pytest.raises(ValueError, match=r"aux_weight is 0\.4, but resnet50 .*aux_weight=0\.0"):
        schema.check(config)
    config.objective.aux_weight = 0.0
    schema.check(config)


def test_class_weights_need_a_loss_that_takes_them():
    config = load()
    config.objective.class_weights = (1.0, 2.0)
    with pytest.raises(ValueError, match=r"class_weights is \(1\.0, 2\.0\), but rmi takes no"):
        schema.check(config)
    config.objective.main_loss = "cross_entropy"
    schema.check(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "camvid", "share": 0.0},
            r"data\.pool\.name is 'camvid', but no crop .* data\.pool\.name=''",
        ),
        (
            {"boost_classes": ("bus",)},
            r"data\.pool\.boost_classes is \('bus',\), but there is no pool",
        ),
    ],
)
def test_a_pool_is_there_and_of_use(changes, message):
    config = load()
    config.data.pool.update(changes)
    with pytest.raises(ValueError, match=message):
        schema.check(config)
    config.data.pool.update({"name": "camvid", "share": 0.0, "boost_classes": ("bus",)})
    schema.check(config)
    config.data.pool.update({"share": 0.5, "boost_classes": ()})
    schema.check(config)


def test_boost_needs_class_uniform_crops():
    config = load()
    config.data.pool.name = "camvid"
    config.data.pool.boost_classes = ("bus",)
    config.data.class_uniform_share = 0.0
    with pytest.raises(ValueError, match=r"boost_classes .* set data\.class_uniform_share"):
        schema.check(config)
    config.data.class_uniform_share = 0.1
    schema.check(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, r"steps is 0 and epochs is 0, but one of them"),
        ({"epochs": 2.5}, r"steps is 1000 and epochs is 2\.5, but one of them"),
        ({"evaluate.patience": 2}, r"patience is 2, but .* set checkpoint\.keep_best"),
        ({"checkpoint.keep_best": "single"}, r"keep_best is 'single', but .* set evaluate\.every"),
        (
            {"checkpoint.keep_every": 750},
            r"keep_every is 750; .* multiple of checkpoint\.every=500",
        ),
        (
            {"evaluate.without_average": True},
            r"without_average is True, .* set optimizer\.ema_decay",
        ),
    ],
)
def test_lengths_and_evaluations_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        schema.check(schema.override(load(), changes))
    possible = {
        "steps": 0,
        "epochs": 2.5,
        "evaluate.every": "5 epochs",
        "evaluate.patience": 2,
        "checkpoint.keep_best": "single",
        "checkpoint.keep_every": 1000,
        "evaluate.without_average": True,
        "optimizer.ema_decay": 0.9,
    }
    schema.check(schema.override(load(), possible))
