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

import pathlib

import ml_collections

from data import registry
from data.builder import SegmentationBuilder
from hmsa_jax.experiment import run as run_directory
from hmsa_jax.experiment import schema


def check_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> registry.Dataset:
    """Checks a config and compares it with the run; nothing is read of the images.

    Args:
      config: of the experiment.
      workdir: of the run; it may be missing.

    Returns:
      What is known of the data set.

    Raises:
      ValueError: a field is wrong, or config or classes are not those of the run.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    schema.check(config)
    dataset = registry.get(config.data.name, config.data.dir or None)
    run_directory.check(workdir, config, dataset.label_spec)
    return dataset


def build_data(config: ml_collections.ConfigDict) -> SegmentationBuilder:
    """The builder of the config's data set, which is built unless the cache holds it."""
    return registry.prepare(
        config.data.name, config.data.dir or None, cache_dir=config.data.cache_dir
    )
