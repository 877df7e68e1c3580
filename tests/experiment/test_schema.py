import importlib
import pathlib

import numpy as np
import pytest

from hmsa_jax.experiment import schema
from hmsa_jax.input.photometric import Photometric

CONFIGS = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parents[2] / "configs").glob("*.py")
    if path.stem != "__init__"
)


def load(name="base"):
    return importlib.import_module(f"configs.{name}").get_config()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_passes(name):
    schema.check(load(name))


def test_all_problems_are_listed_at_once():
    config = load()
    config.optimizer.momentum = 1.5
    config.model.trunk = "w49"
    config.data.batch_size = True
    config.optimizer.nesterov = True
    del config.data["flip"]
    with pytest.raises(ValueError, match="cannot be run") as error:
        schema.check(config)
    for text in (
        "optimizer.momentum is 1.5; expected a number in [0, 1)",
        "model.trunk is 'w49'; expected one of",
        "data.batch_size is True; expected a whole number from 1 to 1000000000",
        "optimizer.nesterov: no such field",
        "data.flip: missing",
    ):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("objective.scales", (0.5, 2.0)),
        ("objective.scales", (-1.0, 1.0)),
        ("data.crop_size", (128,)),
        ("data.scale_range", (2.0, 0.5)),
        ("data.class_uniform_share", 1.5),
        ("data.class_uniform_tile", 0),
        ("data.class_uniform_until_epoch", -1),
        ("data.pool.share", 1.5),
        ("data.pool.until_epoch", -1),
        ("data.pool.boost_classes", "bus"),
        ("data.pool.boost_until_epoch", 0.5),
        ("augment.brightness", 1.5),
        ("augment.hue", 0.75),
        ("augment.blur", 0.5),
        ("evaluate.protocols", ("median:1,2",)),
        ("evaluate.protocols", ()),
        ("optimizer.learning_rate", float("nan")),
        ("mesh.data", 0),
        ("model.dtype", "float16"),
        ("model.batch_norm_group", -1),
        ("model.remat", True),
        ("model.attention", "True"),
        ("objective.main_loss", "dice"),
        ("objective.aux_loss", "rmi"),
        ("objective.rmi.weight", 1.5),
        ("objective.rmi.pooling", "mean"),
        ("objective.scales", (0.5, 1.0, 1.0)),
    ],
)
def test_impossible_values_name_the_field(field, value):
    config = load()
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=field):
        schema.check(config)


class Hostile:
    """Fails whatever is asked of it."""

    def __eq__(self, other):
        raise ValueError

    def __repr__(self):
        raise ValueError

    def __iter__(self):
        raise ValueError

    __hash__ = None


ODD_VALUES = (
    *(None, -1, -0.5, 10**400, -(10**400), float("nan"), float("inf"), True, 1 + 2j, b"1"),
    *("", "\0", "1", (), ((),), ([],), ((), 1.0), (0, 0), (1.0, "1"), ({},), [1.0], {1.0}, {}),
    *((1.0, float("nan")), (10**400, 10**400), (32, 10**400), np.float32(1), np.int64(1)),
    *(np.ones(3), (np.ones(3), 1.0), object(), Hostile()),
)


@pytest.mark.parametrize("field", schema.FIELDS)
def test_a_field_answers_whatever_it_holds(field):
    allowed = [value for value in ODD_VALUES if schema.FIELDS[field].allows(value)]
    assert {type(value) for value in allowed} <= {int, float, str, bool, tuple}
    assert not any(value == 10**400 for value in allowed)


@pytest.mark.parametrize("value", [([],), 10**5000, Hostile()], ids=["list", "digits", "hostile"])
def test_an_odd_value_is_told_in_a_line(value):
    config = load()
    with config.ignore_type():
        config.optimizer.frozen = value
    with pytest.raises(
        ValueError, match=r"run:\n  optimizer\.frozen is .*; expected a tuple of so"
    ):
        schema.check(config)


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


@pytest.mark.parametrize("field", ["data.dir", "data.cache_dir", "data.pool.dir", "init_from"])
def test_a_path_that_is_elsewhere_is_refused(field):
    config = load()
    config.update_from_flattened_dict({field: "gs://bucket/there"})
    with pytest.raises(ValueError, match=f"\n  {field} is gs://bucket/there: .* local paths"):
        schema.check(config)


@pytest.mark.parametrize("name", ["street_scenes", "camvid"])
def test_measured_experiments_leave_colours_alone(name):
    assert Photometric(**load(name).augment) == Photometric()


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
