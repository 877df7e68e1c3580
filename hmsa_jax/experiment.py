"""What a config stands for: the mesh, the classes, the network and its optimizer."""

import dataclasses
import math

import ml_collections
import optax
from flax import nnx
from jax.sharding import Mesh

from data import registry
from hmsa_jax import config as config_lib
from hmsa_jax import optimizer as optimizer_lib
from hmsa_jax import sharding
from hmsa_jax.input.photometric import Photometric
from hmsa_jax.losses.objective import RMI, Objective
from hmsa_jax.models import multiscale
from hmsa_jax.state import TrainState, initial_state


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config made concrete, but for the images.

    Attributes:
      dataset: names and colours of the classes.
      mesh: all devices.
      architecture: the network in numbers.
      graphdef: the network in code.
      augment: what happens to the colours of the training images.
      objective: what training minimises.
      schedule: step -> learning rate.
      optimizer: SGD over that schedule.
      state: the state before the first step, with drawn weights, on the devices.
    """

    dataset: registry.Dataset
    mesh: Mesh
    architecture: multiscale.Architecture
    graphdef: nnx.GraphDef
    augment: Photometric
    objective: Objective
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    state: TrainState


def assemble(config: ml_collections.ConfigDict) -> Experiment:
    """Checks the config and draws the network.

    Raises:
      ValueError: a field is wrong.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    config_lib.check(config)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.spatial)
    parts = config.optimizer.accumulate
    name = "data.batch_size" if parts == 1 else "data.batch_size / optimizer.accumulate"
    sharding.check_batch_size(name, config.data.batch_size // parts, mesh)
    dataset = registry.get(config.data.name, config.data.dir or None)
    architecture = _architecture(config, dataset.num_classes)
    stride = math.ceil(architecture.coarsest_stride / min(config.objective.scales))
    sharding.check_rows("data.crop_size", config.data.crop_size[0], stride, mesh)
    graphdef, params, batch_stats = multiscale.initialize(
        architecture, dtype=config.model.dtype, remat=config.model.remat, seed=config.seed
    )
    schedule = optimizer_lib.poly_schedule(
        config.optimizer.learning_rate, config.optimizer.poly_exponent, config.steps
    )
    optimizer = optimizer_lib.sgd(
        schedule,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
        decay_vectors=config.optimizer.decay_vectors,
        frozen=config.optimizer.frozen,
    )
    state = initial_state(
        params,
        batch_stats,
        optimizer,
        sharding.replicated(mesh),
        ema=config.optimizer.ema_decay > 0,
    )
    return Experiment(
        dataset,
        mesh,
        architecture,
        graphdef,
        Photometric(**config.augment),
        _objective(config),
        schedule,
        optimizer,
        state,
    )


def _architecture(config, classes: int) -> multiscale.Architecture:
    model = config.model
    return multiscale.Architecture(
        trunk=model.trunk,
        classes=classes,
        attention=model.attention,
        scales=tuple(sorted(config.objective.scales)),
        semantic_head=model.semantic_head,
        ocr_channels=model.ocr_channels,
        ocr_key_channels=model.ocr_key_channels,
        head_channels=model.head_channels,
        dropout=model.dropout,
    )


def _objective(config) -> Objective:
    fields = dict(config.objective)
    del fields["scales"]
    fields["rmi"] = RMI(**config.objective.rmi)
    return Objective(**fields, explicit=config.model.attention == "explicit")
