"""The command `build-data`: data sets are built once, for machines that do not have their files."""

import pathlib
import shlex

import ml_collections

from data.builder import SegmentationBuilder
from data.encodings import FILES
from hmsa_jax.config import schema
from hmsa_jax.experiment import start, train_input
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.runtime.progress import tell


def build_data(config: ml_collections.ConfigDict, out: pathlib.Path | None = None) -> None:
    """Builds all that training by a config reads, unless it is there: data set, pool, centroids.

    Args:
      config: of an experiment; its group `data` counts.
      out: where to, in place of `data.cache_dir`.

    Raises:
      ValueError: the config is wrong, or files of the data set are; or what is there has no digest.
      FileNotFoundError: there is no data set in the directory.
      PermissionError: a folder may not be read.
    """
    if out is not None:
        config.data.cache_dir = str(out)
    schema.check(config)
    data = config.data
    label_spec = start.label_spec_of(data)
    train_input.check_pool(data, label_spec)
    builder = start.build_data(config)
    tell_remarks(builder)
    built = [("data", builder)]
    if data.pool.name:
        pool_builder, _ = train_input.open_pool(data)
        built.append(("data.pool", pool_builder))
    if data.class_uniform_share:
        train_input.prepare(data, label_spec, builder, seed=config.seed)
    for group, each in built:
        _tell(group, each, data.cache_dir)


def _tell(group: str, builder: SegmentationBuilder, cache_dir: str) -> None:
    """Prints what is there, and what to write to use it without its source."""
    digest, splits = builder.found.digest, builder.info.splits
    if not digest:
        raise ValueError(
            f"{builder.data_dir} was built by an earlier version, and cannot be told from others;"
            " delete it and give the same command again"
        )
    images = ", ".join(f"{split} {splits[split].num_examples}" for split in splits)
    encoding = builder.found.encoding
    tell(
        f"{builder.name}, digest {digest}, encoding {encoding}, images: {images}. It is in"
        f" {builder.data_dir}."
    )
    fields = {"data.cache_dir": cache_dir}
    if encoding != FILES:
        fields["data.encoding"] = encoding
    if builder.NEEDS_DIR:
        fields |= {f"{group}.dir": "", f"{group}.built": digest}
    flags = " ".join(shlex.quote(f"--config.{name}={value}") for name, value in fields.items())
    tell(f"To read it: {flags}")
