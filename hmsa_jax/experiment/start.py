"""How a command on a run starts: what is wrong is found before anything is compiled or written.

The commands go through these stages in this order, each through those that it needs:

1. `check_run`: the config, the classes of its data set, and both against those of the run.
2. The checkpoint to read, or the run to start from, is there (`checkpoint_reading.find_step`).
3. The network can do the protocols, and machines hold the sizes (`evaluate`, `feasibility`).
4. `build_data`, and the splits of it (`splits.open_split`): they are there and hold what is needed.
5. All processes are about to do the same (`splits.check_agreement`; `main` compares the flags).
6. Mesh and network are made (`experiment.assemble`), and weights that have to fit it are read.
7. `run_directory.claim`: from here on something is written, and what fails now can be resumed.
"""

import contextlib
import pathlib

import ml_collections

from data import registry
from data.builder import SegmentationBuilder
from data.label_spec import LabelSpec
from hmsa_jax.config import schema
from hmsa_jax.distributed import hosts
from hmsa_jax.experiment import run_directory
from hmsa_jax.runtime import storage


def check_run(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, *, needs_data: bool = True
) -> LabelSpec:
    """Checks a config and compares it with the run; nothing is read of the images.

    Args:
      config: of the experiment.
      workdir: of the run; it may be missing.
      needs_data: whether the data set has to be there. Without it the classes are those of the run.

    Returns:
      The classes.

    Raises:
      ValueError: a field is wrong, or config or classes are not those of the run.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    schema.check(config)
    try:
        label_spec = label_spec_of(config.data)
    except (ValueError, FileNotFoundError):
        of_run = run_directory.classes_of(workdir)
        if needs_data or of_run is None:
            raise
        label_spec = of_run
    run_directory.check(workdir, config, label_spec)
    return label_spec


def label_spec_of(data: ml_collections.ConfigDict) -> LabelSpec:
    """The classes of the data set that the group `data` of a checked config names."""
    return registry.get(data.name, data.dir or None, data.cache_dir, data.built).label_spec


def build_data(config: ml_collections.ConfigDict) -> SegmentationBuilder:
    """The builder of the config's data set, which is built unless the cache holds it.

    Where it is opened without `data.dir`, its digest is put into the config, for the run to keep.
    """
    data = config.data
    with one_builds(data, "data set"):
        builder = registry.prepare(
            data.name, data.dir or None, data.cache_dir, data.built, data.encoding
        )
    if builder.is_sourceless:
        data.built = builder.found.digest
    return builder


def one_builds(
    data: ml_collections.ConfigDict, moment: str
) -> contextlib.AbstractContextManager[None]:
    """In a bucket, what the first process has built while the body runs is there for the others.

    Args:
      data: the group of a checked config.
      moment: as for `hosts.wait_for_all`.
    """
    if storage.is_remote(data.cache_dir):
        return hosts.first_before_others(moment, hosts.UNEQUAL_MINUTES)
    return contextlib.nullcontext()
