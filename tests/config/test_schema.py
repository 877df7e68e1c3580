import importlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hmsa_jax.config import schema
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
        "optimizer.nesterov: no such field; did you mean",
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
        ("objective.class_weights", (1.0, -1.0)),
        ("objective.class_weights", (0.0, 0.0)),
        ("objective.class_weights", (1e-46, 1e-46)),
        ("objective.class_weights", (1e39, 1.0)),
        ("objective.class_weights", ("road",)),
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


@pytest.mark.parametrize(
    ("field", "scheme"),
    [("data.dir", "gs"), ("data.pool.dir", "gs"), ("data.cache_dir", "s3"), ("init_from", "s3")],
)
def test_a_path_that_is_elsewhere_is_refused(field, scheme):
    config = load()
    config.update_from_flattened_dict({field: f"{scheme}://bucket/there"})
    with pytest.raises(ValueError, match=f"\n  {field} is {scheme}://bucket/there: .*path of this"):
        schema.check(config)


@pytest.mark.parametrize("field", ["data.cache_dir", "init_from"])
def test_a_path_in_a_bucket_is_taken(field):
    pytest.importorskip("gcsfs")
    config = load()
    config.update_from_flattened_dict({field: "gs://bucket/there"})
    schema.check(config)


@pytest.mark.parametrize("field", ["data.built", "data.pool.built"])
def test_a_digest_is_of_hexadecimal_digits(field):
    config = load()
    config.update_from_flattened_dict({field: "0123456789abcdef"})
    schema.check(config)
    config.update_from_flattened_dict({field: "newest"})
    with pytest.raises(ValueError, match=f"{field} is 'newest'; expected hexadecimal digits"):
        schema.check(config)


@pytest.mark.parametrize("name", ["street_scenes", "camvid"])
def test_measured_experiments_leave_colours_alone(name):
    assert Photometric(**load(name).augment) == Photometric()


@pytest.mark.parametrize("name", schema.FIELDS)
def test_a_default_can_be_typed(name):
    """As Python writes it, and a tuple without brackets and quotes as well."""
    default = schema.FIELDS[name].default
    values = [schema.parse(name, str(default))]
    if isinstance(default, tuple) and default:
        values.append(schema.parse(name, ",".join(map(str, default))))
    for value in values:
        assert value == default
        assert type(value) is type(default)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data.name", "a, (b)", "a, (b)"),
        ("steps", "1_000", 1000),
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.learning_rate", "1e-3", 0.001),
        *(("data.flip", text, True) for text in ("True", "true", "1")),
        *(("data.flip", text, False) for text in ("False", "false", "0")),
        ("data.crop_size", "(64, 128)", (64, 128)),
        ("data.crop_size", "64", (64,)),
        ("objective.scales", "0.5, 1,2", (0.5, 1.0, 2.0)),
        ("objective.scales", "[1]", (1.0,)),
        ("optimizer.frozen", "trunk", ("trunk",)),
        ("optimizer.frozen", "", ()),
        ("optimizer.frozen", "()", ()),
        ("data.pool.boost_classes", "wall,traffic light", ("wall", "traffic light")),
        ("data.pool.boost_classes", "('wall','traffic light')", ("wall", "traffic light")),
        ("data.pool.boost_classes", "1,02", ("1", "02")),
        ("evaluate.protocols", "single,max:.5,1", ("single", "max:.5,1")),
        (
            "evaluate.protocols",
            "average:0.5,1, hierarchical:1,2",
            ("average:0.5,1", "hierarchical:1,2"),
        ),
        ("evaluate.protocols", "('average:0.5,1','single')", ("average:0.5,1", "single")),
    ],
)
def test_a_text_is_read_as_its_field_needs_it(name, text, value):
    read = schema.parse(name, text)
    assert read == value
    assert [type(item) for item in (read if isinstance(read, tuple) else (read,))] == [
        type(item) for item in (value if isinstance(value, tuple) else (value,))
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("steps", "1e3"),
        ("steps", "9" * 5000),
        ("data.flip", "yes"),
        ("optimizer.momentum", "half"),
        ("data.crop_size", "64.0,128"),
        ("data.crop_size", "64x128"),
        ("objective.scales", "([],)"),
        ("objective.scales", "(" * 500),
        ("objective.scales", "\udcff\0"),
    ],
)
def test_a_text_of_another_type_is_told_in_a_line(name, text):
    with pytest.raises(ValueError, match=rf"^{name} is '.*; expected (a|True or) ") as error:
        schema.parse(name, text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("data.bathc_size", r"did you mean data\.batch_size\?"),
        ("learning_rates", r"did you mean optimizer\.learning_rate\?"),
        ("xyz", "`python main.py fields` lists the fields"),
    ],
)
def test_a_misspelt_field_is_told_with_what_it_may_be(name, hint):
    with pytest.raises(ValueError, match=f"^{name}: no such field; {hint}$"):
        schema.parse(name, "1")


def test_a_config_is_made_without_jax():
    """`python main.py fields` and the reading of a config file take no seconds."""
    code = (
        "import sys; from configs import base; base.get_config(); assert 'jax' not in sys.modules"
    )
    root = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
