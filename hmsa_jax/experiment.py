"""What a config stands for: the data set, the mesh, the network and its optimizer."""

import dataclasses
import math
import pathlib

import ml_collections
import optax
import tensorflow_datasets as tfds
from flax import nnx
from jax.sharding import Mesh

from data import registry
from hmsa_jax import config as config_lib
from hmsa_jax import optimizer as optimizer_lib
from hmsa_jax import sharding
from hmsa_jax.models import hrnet, multiscale
from hmsa_jax.state import TrainState, initial_state


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config made concrete.

    Attributes:
      dataset: names and colours of the classes.
      builder: the TFDS builder, built.
      mesh: all devices.
      graphdef: the network.
      schedule: step -> learning rate.
      optimizer: SGD over that schedule.
      state: the state before the first step, on the devices.
    """

    dataset: registry.Dataset
    builder: tfds.core.DatasetBuilder
    mesh: Mesh
    graphdef: nnx.GraphDef
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    state: TrainState


def assemble(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Experiment:
    """Checks the config, claims the workdir, builds the data set and draws the network.

    Raises:
      ValueError: a field is wrong, or the workdir belongs to another config.
      FileNotFoundError: files of the data set are missing.
    """
    config_lib.check(config)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.spatial)
    sharding.check_batch_size("data.batch_size", config.data.batch_size, mesh)
    coarsest_stride = math.ceil(hrnet.COARSEST_STRIDE / min(config.objective.scales))
    sharding.check_rows("data.crop_size", config.data.crop_size[0], coarsest_stride, mesh)
    dataset = registry.get(config.data.name)
    config_lib.claim_workdir(config, workdir)
    builder = registry.prepare(
        config.data.name, config.data.dir or None, cache_dir=config.data.cache_dir
    )
    model = config.model
    graphdef, params, batch_stats = multiscale.initialize(
        multiscale.Architecture(
            trunk=model.trunk,
            classes=dataset.num_classes,
            attention=model.attention,
            semantic_head=model.semantic_head,
            ocr_channels=model.ocr_channels,
            ocr_key_channels=model.ocr_key_channels,
            head_channels=model.head_channels,
            dropout=model.dropout,
        ),
        dtype=model.dtype,
        remat=model.remat,
        seed=config.seed,
    )
    schedule = optimizer_lib.poly_schedule(
        config.optimizer.learning_rate, config.optimizer.poly_exponent, config.steps
    )
    optimizer = optimizer_lib.sgd(
        schedule,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
    )
    state = initial_state(params, batch_stats, optimizer, sharding.replicated(mesh))
    return Experiment(dataset, builder, mesh, graphdef, schedule, optimizer, state)
