"""What is set in a config or typed as a flag reaches what it is for."""

import dataclasses
import importlib
import inspect
import itertools
import json
import pathlib

import jax
import numpy as np
import pytest

import main
from configs import base, street_scenes
from data import registry
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import (
    convert,
    evaluation,
    experiment,
    monitoring,
    protocols,
    run_directory,
    train_input,
)
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.inference.tiles import Tiling
from hmsa_jax.training import checkpoint
from hmsa_jax.training.monitor import Plan
from hmsa_jax.training.state import initial_state
from hmsa_jax.weights import weight_file
from tests.experiment.test_train_input import OURS, write_folder
from tests.training.test_checkpoint import SGD


def test_every_field_of_the_input_reaches_the_crops(tmp_path, monkeypatch):

    data = street_scenes.get_config().data
    data.name, data.dir = "folder", str(write_folder(tmp_path / "ours", **OURS))
    changed = {"batch_size": 6, "crop_size": (32, 48), "scale_range": (0.7, 0.9), "flip": False,
               "placement": "even", "resampling": "bilinear"}  # fmt: skip
    data.update(**changed, cache_dir=str(tmp_path / "cache"), workers=3)
    data.update(class_uniform_share=0.25, class_uniform_until_epoch=7, class_uniform_tile=64)
    given = {}
    monkeypatch.setattr(
        train_input.pipeline, "train_batches", lambda source, **options: given.update(options)
    )
    builder = registry.prepare(data.name, data.dir, data.cache_dir)
    spec = registry.get(data.name, data.dir).label_spec
    train_input.prepare(data, spec, builder, seed=3)(5)
    assert {name: given[name] for name in changed} == changed
    assert (given["seed"], given["start_step"], given["num_workers"]) == (3, 5, 3)
    uniform = given["class_uniform"]
    assert (uniform.share, uniform.until_epoch) == (0.25, 7)


def test_every_field_of_a_training_reaches_its_step(monkeypatch, short_trunk):
    changes = {
        "model.trunk": "short", "model.dropout": 0.3, "seed": 5, "steps": 70, "augment.hue": 0.1,
        "augment.blur": False, "objective.rmi.radius": 2, "objective.rmi.weight": 0.25,
        "optimizer.learning_rate": 0.3, "optimizer.poly_exponent": 1.5, "optimizer.momentum": 0.7,
        "optimizer.weight_decay": 0.02, "optimizer.decay_vectors": False,
        "optimizer.frozen": ("trunk",), "optimizer.accumulate": 2, "optimizer.ema_decay": 0.75,
        "data.batch_size": 16,
    }  # fmt: skip
    config = schema.override(street_scenes.get_config(), changes)
    made, handed = experiment.assemble(config), {}
    assert vars(made.augment) == dict(config.augment)
    assert vars(made.objective.rmi) == dict(config.objective.rmi)
    assert made.architecture.dropout == 0.3
    assert vars(made.hyperparameters) == {
        "seed": 5, "learning_rate": 0.3, "poly_exponent": 1.5, "steps": 70, "weight_decay": 0.02
    }  # fmt: skip
    on_devices = made.hyperparameters_on_devices()
    for name, number in vars(made.hyperparameters).items():
        assert float(getattr(on_devices, name)) == pytest.approx(number)
    assert made.make_optimizer.keywords == {
        "momentum": 0.7, "decay_vectors": False, "frozen": ("trunk",)
    }  # fmt: skip
    monkeypatch.setattr(experiment, "make_train_step", lambda *_, **given: handed.update(given))
    made.train_step()
    assert (handed["accumulate"], handed["ema_decay"], handed["frozen"]) == (2, 0.75, ("trunk",))
    assert handed["augment"] is made.augment
    assert handed["objective"] is made.objective
    assert made.initial_state().ema_params is not None
    drawn = [made.params["semantic_head"]["output"]["kernel"]]
    for changed in ({"seed": 6}, {"model.initialization": "published"}):  # it was "he"
        other = experiment.assemble(schema.override(config.copy_and_resolve_references(), changed))
        drawn.append(other.params["semantic_head"]["output"]["kernel"])
    for one, two in itertools.combinations(drawn, 2):
        assert (one != two).any()


def test_predictions_are_fused_where_the_config_says(short_trunk):
    config = schema.override(street_scenes.get_config(), {"model.trunk": "short"})
    for resolution in ("features", "image"):
        config.evaluate.fusion_resolution = resolution
        predictor = experiment.assemble(config).predictor((Protocol("single", (1.0,)),))
        assert predictor.fusion_resolution == resolution


@pytest.mark.parametrize("ema", [False, True])
def test_scores_say_whether_they_are_of_a_moving_average(ema):
    values = {"w": np.ones(2, np.float32)}
    state = initial_state(
        values, values, SGD, sharding.replicated(sharding.make_mesh(8, 1)), ema=ema
    )
    assert evaluation.facts(street_scenes.get_config(), state)["average_of_steps"] is ema


PLACES = {"images": "a", "out": "b"}
TYPED = {
    "predict.predict": PLACES
    | {"save": "color", "protocol": "single", "flip": False, "tile": 256, "exif": False},
    "autolabel.autolabel": PLACES
    | {"threshold": 0.5, "protocol": "single", "flip": False, "previews": True},
    "export.export": {
        "out": "b",
        "size": "64x96",
        "format": "onnx",
        "exact": True,
        "protocol": "single",
        "flip": False,
        "dtype": "float32",
        "precision": "int8",
        "calibration": "c",
    },
    "attention.measure": {"protocol": "single"},
    "tune_scales.tune": {"by": "seconds", "budget": 2.5, "scales": "0.5,1"},
    "evaluation.evaluate": {},
}
KEYWORDS = {"exif": "upright", "format": "form", "exact": "is_exact"}


@pytest.mark.parametrize("function", TYPED)
def test_flags_reach_what_a_command_does(function, monkeypatch, tmp_path):
    given, module = {}, function.partition(".")[0]
    verb = {"evaluation": "evaluate", "tune_scales": "tune-scales"}.get(module, module)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    owner = importlib.import_module(f"hmsa_jax.experiment.{module}")
    real = getattr(owner, function.partition(".")[2])

    def note(*values, **named):
        given.update(inspect.signature(real).bind(*values, **named).arguments)
        return True

    monkeypatch.setattr(f"hmsa_jax.experiment.{function}", note)
    flags = [f"--no{n}" if v is False else f"--{n}={v}" for n, v in TYPED[function].items()]
    main.main([verb, f"--workdir={tmp_path}/run", "--step=7", *flags])
    read = {"save": ["color"], "size": (64, 96), "scales": (0.5, 1.0), "out": pathlib.Path("b")}
    for name, value in (TYPED[function] | {"step": 7}).items():
        got = given[KEYWORDS.get(name, name)]
        assert got == read.get(name, value), name


def test_the_default_protocol_is_the_papers_and_a_tile_is_for_all_that_is_larger():
    config = street_scenes.get_config()
    assert protocols.of_prediction(None, config) == Protocol("hierarchical", (0.5, 1.0, 2.0))
    way = protocols.of_prediction(None, config)
    assert protocols.tiling_of(way, config, 256) == Tiling(256, 256 * 256)
    assert protocols.tiling_of(way, config) == Tiling(
        config.evaluate.tile, config.evaluate.tile_above
    )


def test_a_moving_average_is_what_goes_out(tmp_path, short_trunk, monkeypatch):

    config = schema.override(
        street_scenes.get_config(), {"model.trunk": "short", "optimizer.ema_decay": 0.5}
    )
    made = experiment.assemble(config)
    run_directory.claim(tmp_path / "run", config, made.label_spec)
    state = made.initial_state()
    average = jax.tree.map(lambda x: x + 1, state.ema_params)
    with checkpoint.Checkpoints(tmp_path / "run", keep=1) as checkpoints:
        checkpoints.save(dataclasses.replace(state, ema_params=average), 3)
    convert.convert_to(config, tmp_path / "run", tmp_path / "a.safetensors")
    tensors = weight_file.read(tmp_path / "a.safetensors")
    (got,) = (x for name, x in tensors.items() if name.endswith("cls_head.6.weight"))
    kernel = made.params["semantic_head"]["output"]["kernel"]
    np.testing.assert_array_equal(got, kernel.transpose(3, 2, 0, 1) + 1)
    counters = {int(x) for n, x in tensors.items() if n.endswith("num_batches_tracked")}
    assert counters == {3 * len(config.objective.scales)}


def test_what_a_file_leaves_at_its_default_is_compared_if_it_may_not_change(tmp_path):
    config = schema.override(street_scenes.get_config(), {"model.dropout": 0.3})

    config = schema.override(base.get_config(), {"model.dropout": 0.3, "log_every": 7})
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(schema.flatten(config)))
    with pytest.raises(ValueError, match=r"model\.dropout: 0\.3 there, 0\.05 here"):
        run_directory.resolve(tmp_path / "run", base.get_config(), {})


def test_a_plan_is_what_the_config_says():

    config = street_scenes.get_config()
    schema.override(config, {
        "steps": 70, "epochs": 0.0, "evaluate.every": 10, "evaluate.patience": 3,
        "evaluate.without_average": True, "evaluate.pictures": 2, "evaluate.flip": False,
        "optimizer.ema_decay": 0.9, "checkpoint.keep_best": "single", "mesh.wait_minutes": 7.0,
    })  # fmt: skip
    facts = {
        "split": "street_scenes/validation", "flip": False, "fusion_resolution": "features",
        "average_of_steps": True,
    }  # fmt: skip
    expected = Plan(
        70, 10, facts, "single (1)", "single (1)", patience=3, without_average=True, pictures=2,
        wait_minutes=7.0,
    )  # fmt: skip
    assert monitoring.plan_of(config, monitoring.length_of(config, 100)) == expected
    config.evaluate.every = 0
    assert monitoring.plan_of(config, monitoring.length_of(config, 100)).pictures == 0


def test_a_batch_in_memory_has_four_bytes_a_pixel_of_this_process(monkeypatch):
    data = street_scenes.get_config().data
    data.update(batch_size=12, crop_size=(32, 48), workers="auto")
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    images, label = np.zeros((4, 32, 48, 3), np.uint8), np.zeros((4, 32, 48), np.uint8)
    assert train_input._workers(data).keywords == {"batch_bytes": images.nbytes + label.nbytes}
