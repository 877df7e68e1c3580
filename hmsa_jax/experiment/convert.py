"""Weights from a file into a run's directory, and from there into a PyTorch file."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from data import registry
from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import run_directory, start
from hmsa_jax.experiment.experiment import assemble
from hmsa_jax.models import pretrained, published_names, recognition
from hmsa_jax.models.decoders import DECODERS
from hmsa_jax.models.recognition import Recognized
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.runtime.progress import tell
from hmsa_jax.training import checkpoint, checkpoint_reading
from hmsa_jax.weights import weight_file
from hmsa_jax.weights.pytorch_file import StateDict

_LISTED = 5  # names in an error


def convert_from(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    source: pathlib.Path,
    tensors: StateDict | None = None,
) -> pretrained.Coverage:
    """`convert --from`: makes a file's weights the checkpoint of step 0 of a new workdir.

    From there they can be evaluated, trained on (by `train` in the same workdir), or start another
    run (`init_from`).

    Args:
      config: its data set gives the number of classes; nothing is read of the images.
      workdir: without a checkpoint that was written to the end; made if it is missing.
      source: a file that `weight_file.read` reads, with names that `pretrained.load` knows.
      tensors: what it read; None: it is read here.

    Returns:
      How file and network fit.

    Raises:
      ValueError: the file is no checkpoint, or it and the network do not fit; nothing is written
        then. `config.convert_partial` lets tensors of either side be left out.
      FileNotFoundError: there is no such file.
    """
    label_spec = start.check_run(config, workdir)
    if checkpoint_reading.steps_in(checkpoint_reading.directory_of(workdir, "--workdir")):
        raise ValueError(f"{workdir} holds checkpoints already; name another --workdir")
    experiment = assemble(config, label_spec=label_spec, mesh=sharding.make_mesh(-1, 1))
    if tensors is None:
        tensors = weight_file.read(source)
    params, batch_stats, coverage = pretrained.load(
        tensors, experiment.params, experiment.batch_stats, experiment.architecture
    )
    _check(coverage, config, source, tensors)
    state = checkpoint.with_weights(experiment.initial_state(), params, batch_stats)
    run_directory.claim(workdir, config, label_spec, weights_of=source)
    with checkpoint.Checkpoints(workdir, config.checkpoint.keep) as checkpoints:
        checkpoints.save(state, 0)
    folded = ""
    if coverage.folded:
        folded = f" {len(coverage.folded)} biases went into the means of the BatchNorms after them."
    left_out = "" if coverage.complete else f" Left out:\n{coverage.describe()}"
    place = f"{tensors.place} of {source}" if tensors.others else f"{source}"
    others = f" Not taken: {', '.join(tensors.others)}." if tensors.others else ""
    origin = published_names.origin_of(tensors)
    named = f" Their names are those of {published_names.ORIGINS[origin].title}." if origin else ""
    taken = f"{len(coverage.taken)} tensors from {place} are step 0 of {workdir}."
    unlike = published_names.why_unlike(tensors)
    tell(f"{taken}{named}{folded}{others}{unlike and f' {unlike}'}{left_out}")
    return coverage


def config_of(
    source: pathlib.Path,
    tensors: StateDict,
    base: ml_collections.ConfigDict,
    typed: Mapping[str, Any],
) -> ml_collections.ConfigDict:
    """The config of the network in a file, and tells which network that is.

    Args:
      source: the file.
      tensors: of it.
      base: gives the other fields; it changes. It is for Cityscapes.
      typed: fields -> their values, which go before those that the file tells.

    Raises:
      ValueError: the file does not tell enough, and no field that was typed says the rest.
    """
    found = recognition.recognize(tensors)
    reason = published_names.why_unlike(tensors)
    if found is None:
        raise ValueError(
            f"{source} holds no network that is known by its tensors ({_first(tensors)})."
            f" {reason or 'Name the --config of the network in it.'}"
        )
    tell(f"{source} holds {found.describe()}.")
    fields = {f"model.{name}": value for name, value in found.fields.items()}
    fields["model.trunk"] = found.trunk
    if found.fields.get("attention") == "none":
        fields["objective.scales"] = (1.0,)
    if not DECODERS.get(TRUNKS.get(found.trunk).decoder).has_auxiliary_head:
        fields["objective.aux_weight"] = 0.0
    classes = len(registry.get(base.data.name).classes)
    if "data.name" not in typed and found.classes != classes:
        problem = _without_classes(source, found, base.data.name, classes)
        raise ValueError(f"{problem}. {reason}".rstrip(" ."))
    return schema.override(base, fields | dict(typed))


def _without_classes(source: pathlib.Path, found: Recognized, name: str, classes: int) -> str:
    """The error of a file whose classes nobody named."""
    if not found.classes:
        return (
            f"{source} holds {found.describe()}; name the --config of the training to come, or its"
            " data set with --config.data.name=NAME, and take what fits with"
            " --config.convert_partial=True"
        )
    return (
        f"{source} predicts {found.classes} classes, and {name} has {classes}; name the data set of"
        " its classes with --config.data.name=NAME"
    )


def _first(tensors: StateDict) -> str:
    """The names of the first tensors."""
    names = [f"{name:.60}" for name in list(tensors)[:_LISTED]]
    return ", ".join([*names, "..."] if len(tensors) > _LISTED else names)


def convert_to(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    target: pathlib.Path,
    step: int | None = None,
) -> None:
    """`convert --to`: writes the weights of the newest good checkpoint with the published names.

    Args:
      config: of the run.
      workdir: of the run.
      target: the file to write; the suffix says what kind.
      step: of the checkpoint, from `--step`; the newest good one without it.

    Raises:
      ValueError: the config does not belong to the workdir, or the suffix is unknown.
      FileNotFoundError: the workdir holds no checkpoint, or the target's folder is missing.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"--to is {target}, but {target.parent} is no directory; make it")
    weight_file.check_suffix(target)
    if target.exists():
        raise ValueError(f"--to is {target}, which exists; name another file, or remove it")
    label_spec = start.check_run(config, workdir, needs_data=False)
    checkpoint_reading.find_step(workdir, "--workdir", step)
    experiment = assemble(config, label_spec=label_spec, mesh=sharding.make_mesh(-1, 1))
    run_directory.claim(workdir, config, label_spec)
    like = (experiment.params, experiment.batch_stats)
    on_all = sharding.replicated(experiment.mesh)
    state = checkpoint.restore_network(workdir, "--workdir", like, on_all, step)
    state = jax.device_get(state)
    step = int(state.step)
    tensors = pretrained.export(
        state.eval_params,
        state.eval_batch_stats,
        experiment.architecture,
        updates=step * len(config.objective.scales),
    )
    weight_file.write(target, tensors)
    tell(f"Step {step} of {workdir}: {len(tensors)} tensors in {target}.")


def _check(
    coverage: pretrained.Coverage,
    config: ml_collections.ConfigDict,
    source: pathlib.Path,
    tensors: StateDict,
) -> None:
    """Refuses a file that does not fit, with everything that does not, and says what would help."""
    reason = published_names.why_unlike(tensors)
    if coverage.complete and not reason:
        return
    if coverage.taken and config.convert_partial:
        return
    if coverage.complete:
        raise ValueError(
            f"{source} has all tensors of our network, and is another. {reason} Take it with"
            " --config.convert_partial=True all the same."
        )
    network = f"{config.model.trunk}, attention {config.model.attention}, {config.data.name}"
    problem = f"{source} does not fit this network ({network}):\n{coverage.describe()}"
    if reason:
        problem += f"\n{reason}"
    if not coverage.taken:
        raise ValueError(f"{problem}\nNothing fits: name the --config of the network in the file.")
    raise ValueError(
        f"{problem}\n{len(coverage.taken)} tensors fit. Name the --config of the network in the"
        " file, or take what fits with --config.convert_partial=True."
    )
