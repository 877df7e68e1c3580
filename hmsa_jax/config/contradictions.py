"""Fields that are possible by themselves and rule each other out."""

from ml_collections import ConfigDict

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.losses.objective import LOSSES
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.models.trunks import TRUNKS


def find(config: ConfigDict) -> list[str]:
    """A line for each contradiction, which names the fields and a remedy.

    Args:
      config: each of its fields is possible by itself.
    """
    return [
        *_of_length(config),
        *_of_scales(config),
        *_of_batch(config),
        *_of_losses(config),
        *_of_pool(config.data),
        *_of_evaluations(config),
    ]


def _of_length(config: ConfigDict) -> list[str]:
    steps, epochs = config.steps, config.epochs
    if bool(steps) == bool(epochs):
        return [
            f"steps is {steps} and epochs is {epochs:g}, but one of them says how long the run is;"
            " set the other one to 0"
        ]
    return []


def _of_scales(config: ConfigDict) -> list[str]:
    attention, scales = config.model.attention, config.objective.scales
    problems = []
    if len(scales) > 1 and not ATTENTIONS.get(attention).fuses_scales:
        problems.append(
            "objective.scales has several scales, which only attention can fuse; set"
            " model.attention='hierarchical' or objective.scales=(1.0,)"
        )
    if len(set(scales)) < len(scales):
        problems.append(f"objective.scales is {scales}; expected no scale twice")
    if ATTENTIONS.get(attention).weighs_together:
        problems += [
            f"evaluate.protocols has {protocol.name}; {attention} attention weighs exactly the"
            f" scales that it was trained on, objective.scales={tuple(sorted(scales))}"
            for protocol in protocol_lib.parse_all(config.evaluate.protocols)
            if protocol.fusion.attention == attention and protocol.scales != tuple(sorted(scales))
        ]
    return problems


def _of_batch(config: ConfigDict) -> list[str]:
    batch, parts = config.data.batch_size, config.optimizer.accumulate
    group = config.model.batch_norm_group
    if batch % parts:
        return [f"optimizer.accumulate is {parts}; expected a divisor of data.batch_size={batch}"]
    if group and batch // parts % group:
        return [
            f"model.batch_norm_group is {group}; expected 0 or a divisor of"
            f" data.batch_size / optimizer.accumulate={batch // parts}"
        ]
    return _too_few_for_batch_norm(config)


def _of_losses(config: ConfigDict) -> list[str]:
    trunk, objective = config.model.trunk, config.objective
    problems = []
    if objective.aux_weight and not _decoder(trunk).has_auxiliary_head:
        problems.append(
            f"objective.aux_weight is {objective.aux_weight}, but {trunk} has no auxiliary head;"
            " set objective.aux_weight=0.0"
        )
    if objective.class_weights and not LOSSES.get(objective.main_loss).takes_class_weights:
        problems.append(
            f"objective.class_weights is {objective.class_weights}, but {objective.main_loss} takes"
            " no weights; set objective.main_loss='cross_entropy', or objective.class_weights=()"
        )
    return problems


def _too_few_for_batch_norm(config: ConfigDict) -> list[str]:
    """BatchNorm over a single value returns a constant, and what is before it learns nothing.

    A trunk that goes with a pyramid has such values by itself: the mean of each image, which is one
    pixel. Others have them where the coarsest features are one pixel.
    """
    model, batch, parts = config.model, config.data.batch_size, config.optimizer.accumulate
    if (model.batch_norm_group or batch // parts) > 1:
        return []
    fields = f"data.batch_size={batch}"
    remedy = "set data.batch_size to 2 or more"
    if model.batch_norm_group:
        fields, remedy = "model.batch_norm_group=1", "set model.batch_norm_group to 0, 2 or more"
    elif parts > 1:
        fields += f" in optimizer.accumulate={parts} parts"
        remedy = "set optimizer.accumulate to a smaller divisor of the batch"
    image = f"{fields} normalises one image at a time"
    if _decoder(model.trunk).normalises_image_mean:
        return [
            f"{image}, but model.trunk={model.trunk!r} goes with a pyramid that normalises the mean"
            f" of an image, which by itself becomes a constant; {remedy}"
        ]
    size, smallest = config.data.crop_size, min(config.objective.scales)
    if all(length * smallest <= TRUNKS.get(model.trunk).coarsest_stride for length in size):
        return [
            f"{image}, of whose crop, data.crop_size={size} at scale {smallest:g}, the coarsest"
            f" features are one pixel, which by itself becomes a constant; {remedy}, or enlarge"
            " data.crop_size"
        ]
    return []


def _decoder(trunk: str) -> Decoder:
    return DECODERS.get(TRUNKS.get(trunk).decoder)


def _of_pool(data: ConfigDict) -> list[str]:
    pool = data.pool
    problems = []
    if pool.name and not pool.share and not pool.boost_classes:
        problems.append(
            f"data.pool.name is {pool.name!r}, but no crop comes from the pool; set data.pool.share"
            " or data.pool.boost_classes, or data.pool.name=''"
        )
    if pool.boost_classes and not pool.name:
        problems.append(
            f"data.pool.boost_classes is {pool.boost_classes}, but there is no pool that shows"
            " them; set data.pool.name, or data.pool.boost_classes=()"
        )
    if pool.boost_classes and not data.class_uniform_share:
        problems.append(
            f"data.pool.boost_classes is {pool.boost_classes}, but only class-uniform crops show"
            " them; set data.class_uniform_share, or data.pool.boost_classes=()"
        )
    return problems


def _of_evaluations(config: ConfigDict) -> list[str]:
    settings, checkpoints = config.evaluate, config.checkpoint
    problems = []
    if checkpoints.keep_best and not settings.every:
        problems.append(
            f"checkpoint.keep_best is {checkpoints.keep_best!r}, but there is one evaluation, after"
            " the last step; set evaluate.every, or checkpoint.keep_best=''"
        )
    if settings.patience and not checkpoints.keep_best:
        problems.append(
            f"evaluate.patience is {settings.patience}, but nothing says by which protocol an"
            " evaluation is better; set checkpoint.keep_best, or evaluate.patience=0"
        )
    if settings.without_average and not config.optimizer.ema_decay:
        problems.append(
            "evaluate.without_average is True, but there is no moving average; set"
            " optimizer.ema_decay, or evaluate.without_average=False"
        )
    if checkpoints.keep_every % checkpoints.every:
        problems.append(
            f"checkpoint.keep_every is {checkpoints.keep_every}; expected 0 or a multiple of"
            f" checkpoint.every={checkpoints.every}"
        )
    return problems
