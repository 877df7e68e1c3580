"""The paper's recipes: their numbers, and that every network can be trained with them.

No figure of a training is tested here: the steps are traced with abstract arrays, at the paper's
crops and batches, and neither compiled nor run.
"""

import importlib
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

import main
from data import cityscapes
from hmsa_jax.commands import command_line, execution
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import experiment
from hmsa_jax.models.trunks import TRUNKS
from tests import least_networks

ROOT = pathlib.Path(__file__).parents[2]
PROTOCOL = ROOT / "docs" / "paper_protocol.md"
NO_RECIPES = {"__init__", "schedule"}
RECIPES = sorted({path.stem for path in (ROOT / "configs/paper").glob("*.py")} - NO_RECIPES)

# Section 5.1, and what the authors' code adds: the weights 0.4 and 0.05, colours, tiles, crops.
BOTH = {
    "data.scale_range": (0.5, 2.0),
    "data.flip": True,
    "data.resampling": "bicubic",
    "data.placement": "published",
    "data.class_uniform_share": 0.5,
    "data.class_uniform_tile": 1024,
    "data.class_uniform_until_epoch": 0,
    "data.pool.until_epoch": 0,
    "augment.brightness": 0.25,
    "augment.contrast": 0.25,
    "augment.saturation": 0.25,
    "augment.hue": 0.25,
    "augment.blur": True,
    "model.semantic_head": "paper",
    "model.initialization": "published",
    "model.dtype": "bfloat16",
    "model.remat": "modules",
    "objective.main_loss": "rmi",
    "objective.aux_loss": "cross_entropy",
    "objective.fusion_resolution": "features",
    "objective.mean_over": "images",
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 5e-4,
    "optimizer.decay_vectors": True,
    "optimizer.frozen": (),
    "optimizer.accumulate": 1,
    "evaluate.fusion_resolution": "features",
    "evaluate.flip": True,
}
MAPILLARY = BOTH | {
    "steps": 112500,  # 200 epochs of 18000 images
    "init_from": "",
    "data.name": "mapillary_v1_66",
    "data.train_split": "train",
    "data.eval_split": "validation",
    "data.batch_size": 32,
    "data.crop_size": (1024, 1856),
    "data.pool.name": "",
    "model.trunk": "w48",
    "optimizer.learning_rate": 0.02,
    "optimizer.poly_exponent": 1.0,
    "objective.aux_weight": 0.4,
}
TABLE_1 = MAPILLARY | {"model.trunk": "resnet50", "objective.aux_weight": 0.0}
CITYSCAPES = BOTH | {
    "steps": 32539,  # 175 epochs of 2975 images
    "init_from": "runs/mapillary_pretraining",
    "data.name": "cityscapes",
    "data.train_split": "train",
    "data.eval_split": "validation",
    "data.batch_size": 16,
    "data.crop_size": (1024, 2048),
    "model.trunk": "w48",
    "optimizer.learning_rate": 0.01,
    "optimizer.poly_exponent": 2.0,
    "objective.aux_weight": 0.4,
}
BOOSTED = (3, 4, 6, 7, 9, 11, 12, 13, 14, 15, 16, 17, 18)  # train ids
COARSE = {
    "data.pool.name": "cityscapes_coarse",
    "data.pool.split": "train_extra",
    "data.pool.share": 0.0,
    "data.pool.boost_classes": tuple(cityscapes.LABEL_SPEC.names[i] for i in BOOSTED),
    "data.pool.boost_until_epoch": 150,
}
AUTOLABELS = {
    "data.pool.name": "folder",
    "data.pool.split": "train",
    "data.pool.share": 0.5,
    "data.pool.boost_classes": (),
}


def network(attention, scales, scale_weight, *protocols):
    return {
        "model.attention": attention,
        "objective.scales": scales,
        "objective.scale_weight": scale_weight,
        "evaluate.protocols": protocols,
    }


AVERAGED = network("none", (1.0,), 0.0, "average:0.5,1,2")
ATTENTIVE = network("hierarchical", (0.5, 1.0), 0.05, "hierarchical:0.5,1,2")
EXPECTED = {
    "mapillary_pretraining": MAPILLARY | network("none", (1.0,), 0.0, "single"),
    "mapillary": MAPILLARY | network("hierarchical", (0.5, 1.0), 0.0, "hierarchical:0.25,0.5,1,2"),
    "table1_single": TABLE_1
    | network("none", (1.0,), 0.0, "single", "average:0.5,1,2", "average:0.25,0.5,1,2"),
    "table1_explicit": TABLE_1 | network("explicit", (0.5, 1.0, 2.0), 0.0, "explicit:0.5,1,2"),
    "table1_hierarchical": TABLE_1
    | network("hierarchical", (0.5, 1.0), 0.0, "hierarchical:0.5,1,2", "hierarchical:0.25,0.5,1,2"),
    "table2_baseline": CITYSCAPES | COARSE | AVERAGED,
    "table2_attention": CITYSCAPES | COARSE | ATTENTIVE,
    "table2_autolabels": CITYSCAPES | AUTOLABELS | AVERAGED,
    "table2_attention_autolabels": CITYSCAPES | AUTOLABELS | ATTENTIVE,
    "cityscapes_sota": CITYSCAPES
    | AUTOLABELS
    | ATTENTIVE
    | {
        "steps": 38007,  # 175 epochs of 3475 images
        "data.train_split": "train+validation",
        "data.eval_split": "validation[:50]",
    },
}
# The rows: what is trained, how it is evaluated, mean IoU in the paper.
TABLE_1_ROWS = {
    ("none", "single"): "47.7",
    ("none", "average:0.5,1,2"): "49.4",
    ("none", "average:0.25,0.5,1,2"): "48.7",
    ("explicit", "explicit:0.5,1,2"): "51.4",
    ("hierarchical", "hierarchical:0.5,1,2"): "51.6",
    ("hierarchical", "hierarchical:0.25,0.5,1,2"): "52.2",
}
TABLE_2_ROWS = {
    ("none", "average:0.5,1,2", "cityscapes_coarse"): "84.9",
    ("hierarchical", "hierarchical:0.5,1,2", "cityscapes_coarse"): "85.4",
    ("none", "average:0.5,1,2", "folder"): "86.0",
    ("hierarchical", "hierarchical:0.5,1,2", "folder"): "86.3",
}


def load(name):
    return importlib.import_module(f"configs.paper.{name}").get_config()


def docstring(name):
    return importlib.import_module(f"configs.paper.{name}").__doc__


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories of all data sets, with the lists of classes but without images."""
    root = tmp_path_factory.mktemp("data")
    for name in ("mapillary_v1_66", "cityscapes", "folder"):
        (root / name).mkdir()
    labels = [{"readable": f"Label {n}", "color": [n, n, n], "evaluate": n < 65} for n in range(66)]
    (root / "mapillary_v1_66" / "config.json").write_text(json.dumps({"labels": labels}))
    classes = [{"name": name} for name in cityscapes.LABEL_SPEC.names]
    (root / "folder" / "classes.json").write_text(json.dumps({"classes": classes}))
    return root


def with_directories(config, directories):
    config.data.dir = str(directories / config.data.name)
    if config.data.pool.name == "folder":
        config.data.pool.dir = str(directories / "folder")
    return config


def test_every_recipe_is_tested():
    assert sorted(EXPECTED) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_numbers_are_those_of_the_paper(name, directories):
    config = with_directories(load(name), directories)
    schema.check(config)
    flat = schema.flatten(config)
    assert {field: flat[field] for field in EXPECTED[name]} == EXPECTED[name]


def test_table_1_is_covered():
    rows = [
        ((config.model.attention, protocol), name)
        for name, config in ((name, load(name)) for name in RECIPES)
        if config.model.trunk == "resnet50"
        for protocol in config.evaluate.protocols
    ]
    assert sorted(row for row, _ in rows) == sorted(TABLE_1_ROWS)
    for row, name in rows:
        assert TABLE_1_ROWS[row] in docstring(name)


def test_table_2_is_covered():
    rows = [
        ((config.model.attention, protocol, config.data.pool.name), name)
        for name, config in ((name, load(name)) for name in RECIPES)
        if config.data.name == "cityscapes" and config.data.train_split == "train"
        for protocol in config.evaluate.protocols
    ]
    assert sorted(row for row, _ in rows) == sorted(TABLE_2_ROWS)
    for row, name in rows:
        assert TABLE_2_ROWS[row] in docstring(name)


@pytest.mark.parametrize("name", RECIPES)
def test_steps_and_learning_rate_follow_the_batch(name):
    config = load(name)
    expected = EXPECTED[name]
    images = {"train+validation": 3475}.get(config.data.train_split, 2975)
    epochs, images = (200, 18000) if expected["data.batch_size"] == 32 else (175, images)
    config.data.batch_size //= 2
    half = expected["data.batch_size"] // 2
    assert config.data.batch_size == half
    assert config.steps == epochs * images // half
    assert config.optimizer.learning_rate == expected["optimizer.learning_rate"] / 2
    config.optimizer.learning_rate = 0.3
    config.steps = 7
    config.data.batch_size = 4
    assert (config.steps, config.optimizer.learning_rate) == (7, 0.3)


def test_coarse_labels_lie_where_the_fine_ones_do():
    config = load("table2_baseline")
    config.data.dir = "fine"
    assert config.data.pool.dir == "fine"
    config.data.pool.dir = "coarse"
    assert (config.data.dir, config.data.pool.dir) == ("fine", "coarse")
    config = load("table2_autolabels")
    config.data.dir = "fine"
    assert config.data.pool.dir == ""  # has to be named


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["data.batch_size=8"], (8, 4 * 112500, 0.02 / 4)),
        (["optimizer.learning_rate=0.3", "data.batch_size=16"], (16, 2 * 112500, 0.3)),
    ],
)
def test_a_run_is_of_what_the_command_line_makes_of_it(changes, expected):
    """What follows from a field follows from the one that is typed, and gives way to its own."""
    command = main._load("check-data")
    typed = ["--config=configs/paper/table1_single.py", *(f"--config.{c}" for c in changes)]
    options = command_line.parse("check-data", command, typed)
    fields = schema.flatten(execution.read_config(command, options))
    names = ("data.batch_size", "steps", "optimizer.learning_rate")
    assert tuple(fields[name] for name in names) == expected


def bytes_on_devices():
    return sum(array.nbytes for array in jax.live_arrays())


def program(name):
    """All that the train step depends on, but for its constants."""
    flat = schema.flatten(load(name))
    groups = ("model.", "objective.", "optimizer.", "augment.")
    inputs = ("data.name", "data.crop_size", "data.batch_size")
    return tuple((f, v) for f, v in sorted(flat.items()) if f.startswith(groups) or f in inputs)


@pytest.mark.parametrize("name", {program(name): name for name in reversed(RECIPES)}.values())
def test_the_train_step_takes_the_crops_of_the_paper(name, directories):
    config = with_directories(load(name), directories)
    if config.model.trunk == "w48" and name != "cityscapes_sota":
        config.model.trunk = "least"  # with W48's strides; W48 itself takes seconds to trace
    before = bytes_on_devices()
    one_device = sharding.make_mesh(1, 1, jax.devices()[:1])  # quicker to trace for
    with TRUNKS.holding("least", least_networks.HRNET):
        assembled = experiment.assemble(config, mesh=one_device)
    state = jax.eval_shape(assembled.initial_state)
    numbers = jax.eval_shape(assembled.hyperparameters_on_devices)
    shape = (EXPECTED[name]["data.batch_size"], *EXPECTED[name]["data.crop_size"])
    batch = {
        "image": jax.ShapeDtypeStruct((*shape, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct(shape, jnp.uint8),
    }
    successor, metrics = jax.eval_shape(assembled.train_step(), state, numbers, batch)
    assert bytes_on_devices() - before < 2**20  # the parameters alone have over 10 MB
    assert jax.tree.structure(successor) == jax.tree.structure(state)
    for new, old in zip(jax.tree.leaves(successor), jax.tree.leaves(state), strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    terms = {"loss", "main", "bce", "rmi", "grad_norm"}
    terms |= {"aux"} if config.objective.aux_weight else set()
    terms |= {"scales"} if config.objective.scale_weight else set()
    assert set(metrics) == terms
    for value in metrics.values():
        assert (value.shape, value.dtype) == ((), jnp.float32)


@pytest.mark.parametrize("name", RECIPES)
def test_every_docstring_has_its_command(name):
    text = docstring(name)
    assert f"main.py train --config=configs/paper/{name}.py" in text
    assert f"--workdir=runs/{name} " in text
    assert "Not yet trained here" in " ".join(text.split())


@pytest.mark.parametrize("name", [*RECIPES, PROTOCOL.name])
def test_commands_name_what_exists(name):
    text = PROTOCOL.read_text() if name == PROTOCOL.name else docstring(name)
    assert set(re.findall(r"--config\.([\w.]+)", text)) <= set(schema.FIELDS)
    for path in re.findall(r"(?:configs|docs|data)/[\w/]+\.\w+", text):
        assert (ROOT / path).is_file(), path


def test_the_protocol_has_every_recipe():
    named = set(re.findall(r"configs/paper/(\w+)\.py", PROTOCOL.read_text()))
    assert named == {*RECIPES, "schedule"}
