"""What a config stands for: the mesh, the classes, the network and its optimizer."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import ml_collections
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Traced, Wrapped

from data import registry
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import feasibility, schema
from hmsa_jax.input.photometric import Photometric
from hmsa_jax.losses.objective import RMI, Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers.conv import Conv
from hmsa_jax.performance import flops
from hmsa_jax.performance.efficiency import StepWork
from hmsa_jax.training import optimizer as optimizer_lib
from hmsa_jax.training.state import TrainState, initial_state
from hmsa_jax.training.step import make_train_step


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config made concrete, but for the images.

    Attributes:
      dataset: names and colours of the classes.
      mesh: all devices.
      architecture: the network in numbers.
      graphdef: the network in code, in no particular form; see `network_for`.
      augment: what happens to the colours of the training images.
      objective: what training minimises.
      schedule: step -> learning rate.
      optimizer: SGD over that schedule.
      params: the drawn parameters, host arrays.
      batch_stats: the first running statistics, host arrays.
      has_ema: whether the state has a moving average of the parameters.
    """

    dataset: registry.Dataset
    mesh: Mesh
    architecture: multiscale.Architecture
    graphdef: nnx.GraphDef
    augment: Photometric
    objective: Objective
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    params: dict
    batch_stats: dict
    has_ema: bool

    def initial_state(self) -> TrainState:
        """The state before the first step, on all devices."""
        return initial_state(
            self.params,
            self.batch_stats,
            self.optimizer,
            sharding.replicated(self.mesh),
            ema=self.has_ema,
        )

    def network_for(self, images: int, *, whole_rows: bool) -> nnx.GraphDef:
        """The network in the form that suits a program: `Conv.merge_rows` says what there is.

        All rows are merged where a device has one image, or part of one, at a time. Those of
        several images are merged where that is faster, and not where devices share them out.

        Args:
          images: that a device has at a time in that program, or has parts of.
          whole_rows: whether they are the device's alone.
        """
        merge_rows = "all" if images <= 1 else "narrow" if whole_rows else "none"
        network = nnx.merge(self.graphdef, self.params, self.batch_stats)
        network.set_attributes(Conv, merge_rows=merge_rows)
        return nnx.split(network, nnx.Param, nnx.BatchStat)[0]


def assemble(
    config: ml_collections.ConfigDict, devices: Sequence[jax.Device] | None = None
) -> Experiment:
    """Checks the config and draws the network, on the host.

    Args:
      config: of the experiment.
      devices: what the mesh is made of, here or only described; all devices if it is left out.

    Raises:
      ValueError: a field is wrong.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    schema.check(config)
    feasibility.check_widths(config.model)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.spatial, devices)
    dataset = registry.get(config.data.name, config.data.dir or None)
    architecture = _architecture(config, dataset.num_classes)
    graphdef, params, batch_stats = multiscale.initialize(
        architecture,
        dtype=config.model.dtype,
        remat=config.model.remat,
        batch_norm_group=config.model.batch_norm_group,
        initialization=config.model.initialization,
        seed=config.seed,
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
    return Experiment(
        dataset,
        mesh,
        architecture,
        graphdef,
        Photometric(**config.augment),
        _objective(config),
        schedule,
        optimizer,
        params,
        batch_stats,
        has_ema=config.optimizer.ema_decay > 0,
    )


def check_shares(config: ml_collections.ConfigDict, parts: Experiment) -> None:
    """Raises ValueError, naming the field, unless the devices can share out a training batch."""
    count = config.optimizer.accumulate
    name = "data.batch_size" if count == 1 else "data.batch_size / optimizer.accumulate"
    sharding.check_batch_size(name, config.data.batch_size // count, parts.mesh)
    stride = math.ceil(parts.architecture.coarsest_stride / min(config.objective.scales))
    sharding.check_rows("data.crop_size", config.data.crop_size[0], stride, parts.mesh)


def train_step_of(config: ml_collections.ConfigDict, parts: Experiment) -> Wrapped:
    """The config's train step, as `make_train_step` returns it."""
    images = config.data.batch_size // config.optimizer.accumulate // parts.mesh.shape["data"]
    return make_train_step(
        parts.network_for(images, whole_rows=parts.mesh.shape["spatial"] == 1),
        parts.optimizer,
        parts.mesh,
        scales=config.objective.scales,
        objective=parts.objective,
        seed=config.seed,
        augment=parts.augment,
        frozen=config.optimizer.frozen,
        accumulate=config.optimizer.accumulate,
        ema_decay=config.optimizer.ema_decay,
    )


def work_of(
    config: ml_collections.ConfigDict, parts: Experiment, traced: Traced, *arguments
) -> StepWork:
    """Counts the work of a train step that is traced already.

    A network that recomputes is traced once more without: see `flops.without_recomputation`.

    Args:
      config: of the experiment.
      parts: of the experiment.
      traced: the train step.
      *arguments: what it was traced with.
    """
    useful = without_recomputation(parts)
    if useful.graphdef is not parts.graphdef:
        traced = train_step_of(config, useful).trace(*arguments)
    return StepWork(flops.count(traced.jaxpr), tuple(parts.mesh.devices.flat))


def without_recomputation(parts: Experiment) -> Experiment:
    """The same experiment, whose network does useful work only."""
    graphdef = flops.without_recomputation(parts.graphdef, parts.params, parts.batch_stats)
    return dataclasses.replace(parts, graphdef=graphdef)


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
