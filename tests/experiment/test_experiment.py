"""What a config is made into."""

import math

import jax
import pytest
from flax import nnx

from configs import street_scenes
from hmsa_jax.auto_labels import labelling
from hmsa_jax.config import schema
from hmsa_jax.experiment import compile_report, experiment
from hmsa_jax.inference import image_job
from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.tiles import Tiling
from hmsa_jax.models.layers.batch_norm import BatchNorm
from hmsa_jax.models.layers.conv import Conv
from hmsa_jax.models.trunks.hrnet import Exchange, HRNet


def layers_of(assembled, kind):
    """All layers of a kind in the network of an experiment."""
    network = nnx.merge(assembled.graphdef, assembled.params, assembled.batch_stats)
    return [module for _, module in nnx.iter_modules(network) if isinstance(module, kind)]


@pytest.fixture
def form_of_step(monkeypatch):
    """Of the step that a call makes, `Conv.features_by_rows` and what is called `whole_rows`."""
    handed = []
    for module, maker in (
        (experiment, "make_train_step"),
        (experiment, "make_evaluation_step"),
        (image_job.Predictor, "step"),
    ):
        monkeypatch.setattr(
            module, maker, lambda given, *_, **__: handed.append(getattr(given, "graphdef", given))
        )

    def form(assembled, make, *arguments):
        handed.clear()
        make(*arguments)
        network = nnx.merge(handed[0], assembled.params, assembled.batch_stats)
        modules = [module for _, module in nnx.iter_modules(network)]
        (merged,) = {m.features_by_rows for m in modules if isinstance(m, Conv)}
        (whole_rows,) = {m.whole_rows for m in modules if isinstance(m, (HRNet, Exchange, Conv))}
        return merged, whole_rows

    return form


@pytest.mark.parametrize(
    ("spatial", "batch_size", "accumulate", "merged"),
    [
        (1, 8, 1, "all"),
        (1, 16, 1, "narrow"),
        (1, 16, 2, "all"),
        (2, 4, 1, "all"),
        (2, 8, 1, "none"),
        (2, 8, 2, "all"),
    ],
)
def test_rows_are_merged_where_that_is_faster_and_exchanges_none(
    form_of_step, spatial, batch_size, accumulate, merged
):
    config = street_scenes.get_config()
    config.mesh.spatial = spatial
    config.data.batch_size = batch_size
    config.optimizer.accumulate = accumulate
    assembled = experiment.assemble(config)  # on eight devices
    assert form_of_step(assembled, assembled.train_step) == (merged, spatial == 1)


@pytest.mark.parametrize(("spatial", "training"), [(1, "narrow"), (2, "none")])
@pytest.mark.parametrize(("images", "inference"), [(1, "all"), (2, "narrow")])
def test_each_program_has_the_form_for_its_own_batch(
    form_of_step, spatial, training, images, inference
):
    """Whole images go to single devices there, whatever shares out the rows in training."""
    config = street_scenes.get_config()
    config.mesh.spatial = spatial
    config.data.batch_size = 16
    config.data.crop_size = (256, 256)
    config.evaluate.images_per_device = images
    assembled = experiment.assemble(config)

    def teacher():
        predictor = assembled.predictor((protocol_lib.parse("single"),))
        return image_job.ImagePredictor(
            predictor,
            assembled.params,
            assembled.batch_stats,
            labelling.labels_above(0.5),
            tiling=Tiling(1024, math.inf),
            images_per_device=images,
            canvases=1,
        )

    assert form_of_step(assembled, assembled.train_step) == (training, spatial == 1)
    assert form_of_step(assembled, assembled.evaluation_step) == (inference, True)
    assert form_of_step(assembled, teacher) == (inference, True)
    # What is reported on has another batch than the config.
    program, evaluation = compile_report.train_program, compile_report.evaluation_program
    assert form_of_step(assembled, program, assembled, 1) == ("all", spatial == 1)
    assert form_of_step(assembled, evaluation, assembled, 1) == (inference, True)
    # An image at a scale above 2 takes the memory of several.
    config.evaluate.protocols = ("hierarchical:0.5,1,2.5",)
    assert form_of_step(assembled, assembled.evaluation_step) == ("narrow", True)


@pytest.mark.parametrize("spatial", [1, 2])
def test_deeplab_knows_whether_its_rows_are_whole(spatial):
    config = street_scenes.get_config()
    config.model.trunk = "resnet50"
    config.objective.aux_weight = 0.0
    config.mesh.spatial = spatial
    assembled = experiment.assemble(config)
    graphdef = assembled.network_for(1, scales=(1.0,), whole_rows=spatial == 1)
    network = nnx.merge(graphdef, assembled.params, assembled.batch_stats)
    assert network.decoder.whole_rows == (spatial == 1)


def test_numbers_of_a_training_are_no_part_of_its_program(short_trunk):
    """So that a sweep over seeds, learning rates and lengths compiles once."""

    def program(**changes):
        config = schema.override(
            street_scenes.get_config(),
            {"model.trunk": "short", "data.crop_size": (32, 32)} | changes,
        )
        made = compile_report.train_program(experiment.assemble(config), 1)
        return made.step.lower(*made.arguments).as_text()

    numbers = {
        "seed": 7,
        "steps": 60000,
        "optimizer.learning_rate": 0.001,
        "optimizer.poly_exponent": 2.0,
        "optimizer.weight_decay": 0.1,
        "checkpoint.every": 5,
        "evaluate.every": 10,
        "data.class_uniform_share": 0.5,
    }
    assert program() == program(**numbers)
    assert program() != program(**{"optimizer.momentum": 0.5})


def test_mesh_is_made_of_the_devices_that_are_given():
    assembled = experiment.assemble(street_scenes.get_config(), jax.devices()[:2])
    assert assembled.mesh.shape == {"data": 2, "spatial": 1}
    assert experiment.assemble(street_scenes.get_config()).mesh.size == jax.device_count()


def test_every_batch_norm_has_the_group():
    config = street_scenes.get_config()
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {0}
    config.model.batch_norm_group = 4
    assert {layer.group for layer in layers_of(experiment.assemble(config), BatchNorm)} == {4}
