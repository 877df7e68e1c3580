"""The input of training as a config has it: crops of the train split, and of the pool if any."""

import difflib
import functools
import os
from collections.abc import Callable, Iterator, Sequence

import jax
import ml_collections

from data import registry
from data.builder import SegmentationBuilder
from data.label_spec import IGNORE, LabelSpec, differing_names
from hmsa_jax.experiment import splits, start
from hmsa_jax.input import centroids, pipeline, worker_count
from hmsa_jax.input.class_uniform import ClassUniform
from hmsa_jax.input.pool import Pool
from hmsa_jax.input.remarks import check_classes, tell_remarks
from hmsa_jax.runtime.paths import any_path


def check_pool(data: ml_collections.ConfigDict, label_spec: LabelSpec) -> None:
    """Makes sure that the pool, if there is one, shows the classes that the train split shows.

    Args:
      data: the group of a checked config.
      label_spec: of `data.name`.

    Raises:
      ValueError: there is no such pool, its classes differ, or a boost class is none of them.
      FileNotFoundError: the pool's directory does not exist or lacks its class list.
    """
    pool = data.pool
    if not pool.name:
        return
    with registry.naming_the_pool():
        registry.check_there(pool.name, pool.dir, data.cache_dir, pool.built)
        theirs = registry.get(pool.name, pool.dir, data.cache_dir, pool.built).classes
    _check_same_classes(data, label_spec, theirs)
    for name in pool.boost_classes:
        if name not in label_spec.names:
            near = difflib.get_close_matches(name, label_spec.names) or label_spec.names
            raise ValueError(
                f"data.pool.boost_classes has {name!r}, which is no class of {data.name};"
                f" expected names like {', '.join(near)}."
            )


def open_sources(
    data: ml_collections.ConfigDict, builder: SegmentationBuilder
) -> dict[str, pipeline.Source]:
    """The train split and, if there is one, the pool, which is built; by the fields that name them.

    Tells what is to be known of their files, and which classes they lack.

    Args:
      data: the group of a checked config.
      builder: of `data.name`, when it is built.

    Raises:
      ValueError: a split is missing or empty, or their labels cannot teach anything.
    """
    sources = {"data.train_split": _open_train(data, builder)}
    read = [(builder, data.train_split)]
    if data.pool.name:
        with start.one_builds(data, "pool"):
            pool_builder, sources["data.pool.split"] = open_pool(data)
        read.append((pool_builder, data.pool.split))
    for each, _ in read:
        tell_remarks(each)
    check_classes(read)
    return sources


def open_pool(data: ml_collections.ConfigDict) -> tuple[SegmentationBuilder, pipeline.Source]:
    """The pool's builder, which is built unless the cache holds it, and its split.

    Its digest is put into the config as by `start.build_data`.
    """
    pool = data.pool
    with registry.naming_the_pool():
        builder = registry.prepare(
            pool.name, pool.dir or None, data.cache_dir, pool.built, data.encoding
        )
    if builder.is_sourceless:
        pool.built = builder.found.digest
    return builder, splits.open_split(builder, "data.pool.split", pool.split)


def prepare(
    data: ml_collections.ConfigDict,
    label_spec: LabelSpec,
    builder: SegmentationBuilder,
    *,
    seed: int,
) -> Callable[[int], Iterator[pipeline.Batch]]:
    """Builds all that the batches of this process need: the pool, and where each class is.

    Args:
      data: the group of a checked config.
      label_spec: of `data.name`.
      builder: its builder, when it is built.
      seed: decides order and augmentation.

    Returns:
      The number of steps that are done -> the iterator of `pipeline.train_batches`.

    Raises:
      ValueError: a split is missing or empty, or labels cannot be decoded or show no class.
    """
    source = _open_train(data, builder)
    with start.one_builds(data, "centroids"):
        class_uniform = _class_uniform(data, label_spec.names, builder, source)
        pool = _pool(data, label_spec.names)

    def batches_from(start_step):
        return pipeline.train_batches(
            source,
            batch_size=data.batch_size,
            crop_size=data.crop_size,
            scale_range=data.scale_range,
            flip=data.flip,
            resampling=data.resampling,
            placement=data.placement,
            ignore_label=IGNORE,
            seed=seed,
            start_step=start_step,
            num_workers=_workers(data),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            class_uniform=class_uniform,
            pool=pool,
        )

    return batches_from


def _workers(data: ml_collections.ConfigDict) -> int | Callable[[Callable[[int], object]], int]:
    """`data.workers`, or what chooses them when crops can be made."""
    if data.workers != worker_count.AUTO:
        return data.workers
    rows, columns = data.crop_size
    batch_bytes = data.batch_size // jax.process_count() * rows * columns * 4
    return functools.partial(worker_count.choose, batch_bytes=batch_bytes)


def _open_train(data: ml_collections.ConfigDict, builder: SegmentationBuilder) -> pipeline.Source:
    return splits.open_split(builder, "data.train_split", data.train_split)


def _class_uniform(
    data: ml_collections.ConfigDict,
    classes: tuple[str, ...],
    builder: SegmentationBuilder,
    source: pipeline.Source,
) -> ClassUniform | None:
    if not data.class_uniform_share:
        return None
    found = _centroids(data, classes, builder, source, data.train_split)
    return ClassUniform(found, data.class_uniform_share, data.class_uniform_until_epoch)


def _pool(data: ml_collections.ConfigDict, classes: tuple[str, ...]) -> Pool | None:
    pool = data.pool
    if not pool.name:
        return None
    builder, source = open_pool(data)
    found = None
    if data.class_uniform_share:
        title = f"the pool's {pool.split}"
        found = _centroids(data, classes, builder, source, pool.split, title)
    return Pool(
        source,
        share=pool.share,
        until_epoch=pool.until_epoch,
        centroids=found,
        boost_classes=tuple(map(classes.index, pool.boost_classes)),
        boost_until_epoch=pool.boost_until_epoch,
    )


def _centroids(
    data: ml_collections.ConfigDict,
    classes: tuple[str, ...],
    builder: SegmentationBuilder,
    source: pipeline.Source,
    split: str,
    title: str = "",
) -> centroids.Centroids:
    return centroids.prepare(
        source,
        any_path(os.fspath(builder.data_dir), "data.cache_dir") / "centroids",
        split=split,
        tile=data.class_uniform_tile,
        classes=classes,
        title=title,
    )


def _check_same_classes(
    data: ml_collections.ConfigDict, label_spec: LabelSpec, theirs: Sequence[str]
) -> None:
    differing = differing_names(theirs, label_spec.names)
    if differing:
        raise ValueError(
            f"data.pool.name is {data.pool.name!r}, whose classes are not those of"
            f" data.name={data.name!r}. Both need the same names in the same order: name another"
            " pool, or give it the layout of data/folder.py, where classes.json lists them:\n  "
            + "\n  ".join(differing)
        )
