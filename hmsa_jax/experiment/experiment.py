"""What a config stands for: the mesh, the classes, the network, its optimizer and its steps."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.stages import Traced, Wrapped
from ml_collections import ConfigDict

from data import registry
from data.label_spec import IGNORE, LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import feasibility, protocols
from hmsa_jax.inference.evaluation import make_evaluation_step
from hmsa_jax.inference.predictor import Predictor
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input.photometric import Photometric
from hmsa_jax.losses.objective import RMI, Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.models.layers.conv import Conv
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.performance import flops
from hmsa_jax.performance.efficiency import StepWork
from hmsa_jax.training.hyperparameters import Hyperparameters
from hmsa_jax.training.optimizer import OPTIMIZERS
from hmsa_jax.training.state import TrainState, initial_state
from hmsa_jax.training.step import make_train_step

_LARGEST_WHOLE = 2.0  # scale at which an image still counts as one


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config made concrete, but for the images.

    Attributes:
      config: a checked config.
      label_spec: its classes.
      mesh: of the devices that work on it.
      architecture: the network in numbers.
      graphdef: the network in code, in no particular form; see `network_for`.
      augment: what happens to the colours of the training images.
      objective: what training minimises.
      hyperparameters: the numbers that a step is given, on the host.
      make_optimizer: as for `make_train_step`.
      params: the drawn parameters, host arrays.
      batch_stats: the first running statistics, host arrays.
    """

    config: ConfigDict
    label_spec: LabelSpec
    mesh: Mesh
    architecture: multiscale.Architecture
    graphdef: nnx.GraphDef
    augment: Photometric
    objective: Objective
    hyperparameters: Hyperparameters
    make_optimizer: Callable[..., optax.GradientTransformation]
    params: dict
    batch_stats: dict

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.label_spec.names

    @property
    def ignore_label(self) -> int:
        """The number of label pixels that belong to no class."""
        return IGNORE

    def initial_state(self) -> TrainState:
        """The state before the first step, on all devices."""
        given = self.hyperparameters
        return initial_state(
            self.params,
            self.batch_stats,
            self.make_optimizer(given.schedule, weight_decay=given.weight_decay),
            sharding.replicated(self.mesh),
            ema=self.config.optimizer.ema_decay > 0,
        )

    def hyperparameters_on_devices(self) -> Hyperparameters:
        """As the train step takes them."""
        return self.hyperparameters.on(sharding.replicated(self.mesh))

    def network_for(
        self, images: int, *, scales: Iterable[float], whole_rows: bool
    ) -> nnx.GraphDef:
        """The network in the form for a program: see `Conv.features_by_rows`, `HRNet.whole_rows`.

        All features are convolved by rows where a device has one image, or part of one, at a time;
        of several images the narrow ones are, and none where devices share out the rows. At scales
        above 2 an image counts as several: the faster form takes memory that a chip may not have
        (docs/results/evaluation.md).

        Args:
          images: that a device has at a time in that program, or has parts of.
          scales: at which it looks at them.
          whole_rows: whether they are the device's alone.
        """
        is_one = images <= 1 and max(scales) <= _LARGEST_WHOLE
        features_by_rows = "all" if is_one else "narrow" if whole_rows else "none"
        network = nnx.merge(self.graphdef, self.params, self.batch_stats)
        network.set_attributes(Conv, features_by_rows=features_by_rows)
        network.set_attributes(whole_rows=whole_rows, raise_if_not_found=False)
        return nnx.split(network, nnx.Param, nnx.BatchStat)[0]

    def train_step(self) -> Wrapped:
        """The train step, as `make_train_step` returns it."""
        optimization = self.config.optimizer
        batch_size = self.config.data.batch_size // optimization.accumulate
        images = batch_size // self.mesh.shape["data"]
        return make_train_step(
            self.network_for(
                images,
                scales=self.config.objective.scales,
                whole_rows=self.mesh.shape["spatial"] == 1,
            ),
            self.make_optimizer,
            self.mesh,
            scales=self.config.objective.scales,
            objective=self.objective,
            augment=self.augment,
            frozen=optimization.frozen,
            accumulate=optimization.accumulate,
            ema_decay=optimization.ema_decay,
        )

    def evaluation_step(self) -> Wrapped:
        """The evaluation step, as `make_evaluation_step` returns it.

        Raises:
          ValueError: every protocol needs attention of a kind that the network does not have.
        """
        predictor = self.predictor(protocols.of_evaluation(self.config))
        metrics = self.config.evaluate.metrics
        return make_evaluation_step(predictor, classes=len(self.classes), metrics=metrics)

    def predictor(
        self,
        protocols: tuple[Protocol, ...],
        *,
        flip: bool | None = None,
        images: int | None = None,
        each_scale: bool = False,
    ) -> Predictor:
        """The network, ready to predict.

        Args:
          protocols: how.
          flip: as for `Predictor`; None: as `evaluate.flip` says.
          images: that a device has at a time; None: as `evaluate.images_per_device` says.
          each_scale: as for `Predictor`.
        """
        settings = self.config.evaluate
        images = settings.images_per_device if images is None else images
        scales = {scale for protocol in protocols for scale in protocol.scales}
        return Predictor(
            self.network_for(images, scales=scales, whole_rows=True),
            self.mesh,
            protocols,
            settings.fusion_resolution,
            settings.flip if flip is None else flip,
            each_scale,
        )

    def step_work(self, traced: Traced, *arguments: Any) -> StepWork:
        """Counts the work of a train step that is traced already.

        A network that recomputes is traced once more without: see `flops.without_recomputation`.

        Args:
          traced: the train step.
          *arguments: what it was traced with.
        """
        useful = self.without_recomputation()
        if useful.graphdef is not self.graphdef:
            traced = useful.train_step().trace(*arguments)
        return StepWork(flops.count(traced.jaxpr), tuple(self.mesh.devices.flat))

    def without_recomputation(self) -> "Experiment":
        """The same experiment, whose network does useful work only."""
        graphdef = flops.without_recomputation(self.graphdef, self.params, self.batch_stats)
        return dataclasses.replace(self, graphdef=graphdef)


def check_batch(config: ConfigDict, mesh: Mesh) -> None:
    """Raises ValueError, naming the field, unless the devices can divide a training batch."""
    data, count = config.data, config.optimizer.accumulate
    name = "data.batch_size" if count == 1 else "data.batch_size / optimizer.accumulate"
    sharding.check_batch_size(name, data.batch_size // count, mesh)
    stride = math.ceil(
        TRUNKS.get(config.model.trunk).coarsest_stride / min(config.objective.scales)
    )
    sharding.check_rows("data.crop_size", data.crop_size[0], stride, mesh)


def assemble(
    config: ConfigDict,
    devices: Sequence[jax.Device] | None = None,
    *,
    label_spec: LabelSpec | None = None,
    mesh: Mesh | None = None,
) -> Experiment:
    """Checks the config and draws the network, on the host.

    Args:
      config: of the experiment.
      devices: what the mesh is made of, here or only described; all devices if it is left out.
      label_spec: the classes; those of the config's data set if it is left out.
      mesh: in place of the config's, for what is no training.

    Raises:
      ValueError: a field is wrong.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    schema.check(config)
    feasibility.check_widths(config.model)
    if mesh is None:
        mesh = sharding.make_mesh(config.mesh.data, config.mesh.spatial, devices)
    if label_spec is None:
        data = config.data
        label_spec = registry.get(
            data.name, data.dir or None, data.cache_dir, data.built
        ).label_spec
    architecture = _architecture(config, len(label_spec.names))
    graphdef, params, batch_stats = multiscale.initialize(
        architecture,
        dtype=config.model.dtype,
        remat=config.model.remat,
        batch_norm_group=config.model.batch_norm_group,
        initialization=config.model.initialization,
        seed=config.seed,
    )
    optimization = config.optimizer
    # How many steps epochs are is known where the data are: `train` says it, and no other command
    # asks for a learning rate.
    steps = config.steps or 1
    return Experiment(
        config=config,
        label_spec=label_spec,
        mesh=mesh,
        architecture=architecture,
        graphdef=graphdef,
        augment=Photometric(**config.augment),
        objective=_objective(config),
        hyperparameters=Hyperparameters(
            seed=config.seed,
            learning_rate=optimization.learning_rate,
            poly_exponent=optimization.poly_exponent,
            steps=steps,
            weight_decay=optimization.weight_decay,
        ),
        make_optimizer=functools.partial(
            OPTIMIZERS.get(optimization.name),
            momentum=optimization.momentum,
            decay_vectors=optimization.decay_vectors,
            frozen=optimization.frozen,
        ),
        params=params,
        batch_stats=batch_stats,
    )


def _architecture(config: ConfigDict, classes: int) -> multiscale.Architecture:
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


def _objective(config: ConfigDict) -> Objective:
    fields = dict(config.objective)
    del fields["scales"]
    fields["rmi"] = RMI(**config.objective.rmi)
    return Objective(**fields, fuse=ATTENTIONS.get(config.model.attention).fuse)
