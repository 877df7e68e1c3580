"""The fields of an experiment, and the refusal of wrong ones before anything expensive starts."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import ml_collections

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.input import geometric, resampling
from hmsa_jax.losses import objective, rmi
from hmsa_jax.models import fusion, heads, initialization, multiscale, remat
from hmsa_jax.models.trunks import hrnet
from hmsa_jax.performance import profiling
from hmsa_jax.runtime.paths import local_path


@dataclasses.dataclass(frozen=True)
class Field:
    """What a field may hold.

    Attributes:
      accepts: whether a value is possible; `allows` asks it, and survives any value.
      expected: what is, in words.
      free: whether it may change when a run is resumed: it has no part in the result.
      before: what a run did that is older than the field, and whose config lacks it; None for a
        field that all have.
      is_path: whether text other than '' is a path.
    """

    accepts: Callable[[Any], bool]
    expected: str
    free: bool = False
    before: Any = None
    is_path: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a value, of whatever type, is possible."""
        try:
            return bool(self.accepts(value))
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            return False


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _whole(lowest: int, highest: int = 10**9, free: bool = False) -> Field:
    return Field(
        lambda v: _is_whole(v) and lowest <= v <= highest,
        f"a whole number from {lowest} to {highest}",
        free,
    )


def _between(low: float, high: float) -> Field:
    return Field(lambda v: _number(v) and low <= v < high, f"a number in [{low}, {high})")


def _one_of(*options: str, before: str | None = None) -> Field:
    return Field(lambda v: v in options, f"one of {options}", before=before)


def _text(free: bool = False) -> Field:
    return Field(lambda v: isinstance(v, str), "a string", free)


def _path(free: bool = False) -> Field:
    return dataclasses.replace(_text(free), is_path=True)


def _is_protocols(value: Any) -> bool:
    return isinstance(value, tuple) and bool(protocol_lib.parse_all(value))


def _is_profile(value: Any) -> bool:
    profiling.parse(value)  # raises an error
    return isinstance(value, str)


_SHOWN = 200  # characters of a value, in an error
_LONGEST = 2**16  # pixels of a side of a crop
_FLAG = Field(lambda v: isinstance(v, bool), "True or False")
_AT_LEAST_ZERO = Field(lambda v: _number(v) and v >= 0, "a number, 0 or more")
_SHARE = Field(lambda v: _number(v) and 0 <= v <= 1, "a number in [0, 1]")
_RESOLUTION = _one_of(*fusion.RESOLUTIONS)
_SCALES = Field(
    lambda v: isinstance(v, tuple) and all(_number(s) and s > 0 for s in v) and 1.0 in v,
    "a tuple of positive scales, 1.0 among them, like (0.5, 1.0)",
)

FIELDS = {
    "seed": _whole(0, 2**32 - 1),
    "steps": _whole(1),
    "log_every": _whole(1, free=True),
    "profile": Field(_is_profile, profiling.EXPECTED, free=True),
    "data.name": _text(),
    "data.dir": _path(free=True),
    "data.cache_dir": Field(
        lambda v: isinstance(v, str) and v != "", "a directory", free=True, is_path=True
    ),
    "data.train_split": _text(),
    "data.eval_split": _text(free=True),
    "data.batch_size": _whole(1),
    "data.crop_size": Field(
        lambda v: (
            isinstance(v, tuple)
            and len(v) == 2
            and all(_is_whole(n) and 32 <= n <= _LONGEST for n in v)
        ),
        f"a tuple (height, width) of whole numbers from 32 to {_LONGEST}",
    ),
    "data.scale_range": Field(
        lambda v: (
            isinstance(v, tuple) and len(v) == 2 and all(map(_number, v)) and 0 < v[0] <= v[1]
        ),
        "a tuple (smallest, largest) of positive numbers",
    ),
    "data.flip": _FLAG,
    "data.resampling": _one_of(*resampling.RESAMPLINGS, before="bilinear"),
    "data.placement": _one_of(*geometric.PLACEMENTS, before="even"),
    "data.class_uniform_share": _SHARE,
    "data.class_uniform_tile": _whole(1),
    "data.class_uniform_until_epoch": _whole(0),
    "data.workers": _whole(0, free=True),
    "data.pool.name": _text(),
    "data.pool.dir": _path(free=True),
    "data.pool.split": _text(),
    "data.pool.share": _SHARE,
    "data.pool.until_epoch": _whole(0),
    "data.pool.boost_classes": Field(
        lambda v: isinstance(v, tuple) and all(isinstance(name, str) for name in v),
        "a tuple of names of classes",
    ),
    "data.pool.boost_until_epoch": _whole(0),
    "augment.brightness": _SHARE,
    "augment.contrast": _SHARE,
    "augment.saturation": _SHARE,
    "augment.hue": Field(lambda v: _number(v) and 0 <= v <= 0.5, "a number in [0, 0.5]"),
    "augment.blur": _FLAG,
    "init_from": _path(),
    "convert_partial": dataclasses.replace(_FLAG, free=True),
    "model.trunk": _one_of(*multiscale.TRUNKS),
    "model.attention": _one_of(*multiscale.ATTENTIONS),
    "model.semantic_head": _one_of(*heads.SEMANTIC_HEADS),
    "model.ocr_channels": _whole(1, 2**16),
    "model.ocr_key_channels": _whole(1, 2**16),
    "model.head_channels": _whole(1, 2**16),
    "model.dropout": _between(0, 1),
    "model.initialization": _one_of(*initialization.INITIALIZATIONS, before="he"),
    "model.dtype": _one_of("bfloat16", "float32"),
    "model.remat": dataclasses.replace(_one_of(*remat.POLICIES), free=True),
    "model.batch_norm_group": _whole(0),
    "objective.scales": _SCALES,
    "objective.fusion_resolution": _RESOLUTION,
    "objective.main_loss": _one_of(*objective.LOSSES),
    "objective.aux_loss": _one_of(*objective.AUXILIARY_LOSSES),
    "objective.rmi.weight": _SHARE,
    "objective.rmi.radius": _whole(1, 9),
    "objective.rmi.pool": _whole(1, 64),
    "objective.rmi.pooling": _one_of(*rmi.POOLINGS),
    "objective.aux_weight": _AT_LEAST_ZERO,
    "objective.scale_weight": _AT_LEAST_ZERO,
    "objective.mean_over": _one_of(*objective.MEANS, before="pixels"),
    "optimizer.learning_rate": _AT_LEAST_ZERO,
    "optimizer.poly_exponent": _AT_LEAST_ZERO,
    "optimizer.momentum": _between(0, 1),
    "optimizer.weight_decay": _AT_LEAST_ZERO,
    "optimizer.decay_vectors": _FLAG,
    "optimizer.frozen": Field(
        lambda v: isinstance(v, tuple) and set(v) < set(multiscale.PARTS),
        f"a tuple of some, not all, of {multiscale.PARTS}",
    ),
    "optimizer.accumulate": _whole(1),
    "optimizer.ema_decay": _between(0, 1),
    "mesh.data": Field(
        lambda v: _is_whole(v) and (v == -1 or 1 <= v <= 10**9),
        f"-1 or a whole number from 1 to {10**9}",
    ),
    "mesh.spatial": _whole(1),
    "checkpoint.every": _whole(1, free=True),
    "checkpoint.keep": _whole(1, free=True),
    "evaluate.protocols": Field(_is_protocols, protocol_lib.EXPECTED, free=True),
    "evaluate.fusion_resolution": dataclasses.replace(_RESOLUTION, free=True),
    "evaluate.images_per_device": _whole(1, free=True),
    "evaluate.flip": dataclasses.replace(_FLAG, free=True),
    "evaluate.size_multiple": _whole(1, free=True),
}


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as `{"group.field": value}`."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat |= {f"{name}.{inner}": v for inner, v in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def in_words(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Every field as the user would write it, for comparison; `check` says whether it is possible.

    Nothing at all where a field cannot be computed from the others, of which `check` says why.
    """
    try:
        return {name: repr(value) for name, value in flatten(config).items()}
    except ZeroDivisionError:
        return {}


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError, listing every unknown, missing or impossible field at once."""
    try:
        flat = flatten(config)
    except ZeroDivisionError:  # recipes divide by the batch to find the number of steps
        raise ValueError(
            f"The config cannot be run:\n  data.batch_size is 0;"
            f" expected {FIELDS['data.batch_size'].expected}"
        ) from None
    problems = [f"{name}: no such field" for name in flat if name not in FIELDS]
    for name, field in FIELDS.items():
        if name not in flat:
            problems.append(f"{name}: missing; expected {field.expected}")
        elif not field.allows(flat[name]):
            problems.append(f"{name} is {_shown(flat[name])}; expected {field.expected}")
        elif field.is_path and flat[name]:
            problems += _problems_of_path(name, flat[name])
    problems = problems or _contradictions(config)
    if problems:
        raise ValueError("The config cannot be run:\n  " + "\n  ".join(problems))


def _shown(value: Any) -> str:
    """A value as it was written, or its beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of over 4300 digits, a list in itself
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _problems_of_path(name: str, text: str) -> list[str]:
    try:
        local_path(text, name)
    except ValueError as error:
        return [str(error)]
    return []


def _contradictions(config: ml_collections.ConfigDict) -> list[str]:
    """What fields that are possible by themselves rule out together."""
    model, scales = config.model, config.objective.scales
    problems = []
    if len(scales) > 1 and model.attention == "none":
        problems.append(
            "objective.scales has several scales, which only attention can fuse; set"
            " model.attention='hierarchical' or objective.scales=(1.0,)"
        )
    if len(set(scales)) < len(scales):
        problems.append(f"objective.scales is {scales}; expected no scale twice")
    if model.attention == "explicit":
        problems += [
            f"evaluate.protocols has {protocol.name}; explicit attention weighs exactly the scales"
            f" that it was trained on, objective.scales={tuple(sorted(scales))}"
            for protocol in protocol_lib.parse_all(config.evaluate.protocols)
            if protocol.method == "explicit" and protocol.scales != tuple(sorted(scales))
        ]
    batch, parts = config.data.batch_size, config.optimizer.accumulate
    if batch % parts:
        problems.append(
            f"optimizer.accumulate is {parts}; expected a divisor of data.batch_size={batch}"
        )
    elif model.batch_norm_group and batch // parts % model.batch_norm_group:
        problems.append(
            f"model.batch_norm_group is {model.batch_norm_group}; expected 0 or a divisor of"
            f" data.batch_size / optimizer.accumulate={batch // parts}"
        )
    else:
        problems += _too_few_for_batch_norm(config)
    if config.objective.aux_weight and model.trunk not in hrnet.SIZES:
        problems.append(
            f"objective.aux_weight is {config.objective.aux_weight}, but {model.trunk} has no"
            " auxiliary head; set objective.aux_weight=0.0"
        )
    return problems + _contradictions_of_pool(config.data)


def _too_few_for_batch_norm(config: ml_collections.ConfigDict) -> list[str]:
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
    if model.trunk not in hrnet.SIZES:
        return [
            f"{image}, but model.trunk={model.trunk!r} goes with a pyramid that normalises the mean"
            f" of an image, which by itself becomes a constant; {remedy}"
        ]
    size, smallest = config.data.crop_size, min(config.objective.scales)
    if all(length * smallest <= hrnet.COARSEST_STRIDE for length in size):
        return [
            f"{image}, of whose crop, data.crop_size={size} at scale {smallest:g}, the coarsest"
            f" features are one pixel, which by itself becomes a constant; {remedy}, or enlarge"
            " data.crop_size"
        ]
    return []


def _contradictions_of_pool(data: ml_collections.ConfigDict) -> list[str]:
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
