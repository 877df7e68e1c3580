"""Reading a whole data set before anything is trained on it: what it holds, and what is wrong."""

import collections
import io
from collections.abc import Iterator

import ml_collections
import numpy as np
import rich.table

from data import checks, registry
from data.checks import Finding, Pair, Problems
from data.legend import Legend
from hmsa_jax import config as config_lib
from hmsa_jax.input.pipeline import Source
from hmsa_jax.progress import console

_SIZES_SHOWN = 3


class Statistics:
    """Adds up what the images of a split hold.

    Args:
      legend: of the labels.
    """

    def __init__(self, legend: Legend):
        self._train_ids = np.frombuffer(legend.table, np.uint8)
        self._classes = len(legend.names)
        self.images = 0
        self.sizes = collections.Counter()
        self.pixels = np.zeros(self._classes, np.int64)
        self.images_with = np.zeros(self._classes, np.int64)
        self.ignored = 0

    def add(self, finding: Finding) -> None:
        """Takes one image."""
        self.images += 1
        if finding.size is not None:
            self.sizes[finding.size] += 1
        if finding.counts is None:
            return
        pixels = np.zeros(256, np.int64)
        np.add.at(pixels, self._train_ids, finding.counts)
        self.pixels += pixels[: self._classes]
        self.images_with += pixels[: self._classes] > 0
        self.ignored += int(pixels[self._classes :].sum())


def check_data(config: ml_collections.ConfigDict) -> bool:
    """The command: decodes every image and label of the config's data set and prints what is there.

    A table a split tells the pixels of each class; below them stands everything that is wrong, each
    file by its name. A data set from a directory is read where it lies, before anything is built.

    Args:
      config: of an experiment; its fields `data.name`, `data.dir` and `data.cache_dir` count.

    Returns:
      Whether nothing is wrong.

    Raises:
      ValueError: the config is wrong, or a class list or an archive cannot be read.
      FileNotFoundError: there is no data set in the directory.
    """
    config_lib.check(config)
    name, directory = config.data.name, config.data.dir or None
    dataset = registry.get(name, directory)
    source = registry.source_directory(name, directory)
    legend = dataset.legend
    if dataset.needs_dir:
        splits, problems = dataset.builder.pairs(source)
    else:
        splits = _built_pairs(registry.prepare(name, None, config.data.cache_dir))
        problems = Problems(legend.describe_values())
    for split, pairs in splits.items():
        statistics = _read(f"{name}/{split}", pairs, legend, problems)
        console.print(
            f"{name}/{split}: {statistics.images} images, {_sizes(statistics.sizes)}",
            highlight=False,
            soft_wrap=True,
        )
        console.print(to_table(dataset.classes, statistics))
    _tell(problems)
    return not problems


def to_table(classes: tuple[str, ...], statistics: Statistics) -> rich.table.Table:
    """A row a class: pixels, their share of all pixels, and the images that hold it."""
    table = rich.table.Table()
    table.add_column("class")
    for heading in ("pixels", "share, %", "images"):
        table.add_column(heading, justify="right")
    total = statistics.pixels.sum() + statistics.ignored

    def share(pixels):
        return f"{100 * pixels / total:.3f}" if total else "-"

    for name, pixels, images in zip(
        classes, statistics.pixels, statistics.images_with, strict=True
    ):
        table.add_row(name, str(pixels), share(pixels), str(images))
    table.add_section()
    table.add_row("ignored", str(statistics.ignored), share(statistics.ignored), "")
    return table


def _read(title: str, pairs, legend: Legend, problems: Problems) -> Statistics:
    statistics = Statistics(legend)
    for finding in checks.inspect(
        pairs, len(pairs), legend, whole=True, description=f"Checking {title}"
    ):
        statistics.add(finding)
        for problem in finding.problems:
            problems.add(*problem)
    return statistics


def _tell(problems: Problems) -> None:
    if not problems:
        console.print("Nothing is wrong.", style="green")
        return
    for heading, found, remedy in problems.listed():
        console.print(f"{heading}:", style="red", markup=False, highlight=False)
        for what in found:
            console.print(f"  {what}", markup=False, highlight=False, soft_wrap=True)
        console.print(remedy, markup=False, highlight=False, soft_wrap=True)


def _sizes(sizes: collections.Counter) -> str:
    """'all 480x360', or the most frequent sizes with their numbers."""
    if len(sizes) == 1:
        (((width, height), _),) = sizes.items()
        return f"all {width}x{height}"
    texts = [f"{count} {w}x{h}" for (w, h), count in sizes.most_common(_SIZES_SHOWN)]
    more = len(sizes) - len(texts)
    return ", ".join(texts) + (f" and {more} other sizes" if more else "") or "none readable"


class _BuiltPairs:
    """The pairs of a split of a built data set, read from its records when they are wanted."""

    def __init__(self, source: Source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Pair]:
        for record in self._source:
            image, label = (_Held(record, field) for field in ("image", "label"))
            yield Pair(record["id"], image, label)


class _Held:
    """A field of a record, read like a `data.files.File`."""

    def __init__(self, record, field: str):
        self._name = f"{field} of record {record['id']}"
        self._bytes = record[field]

    def __str__(self) -> str:
        return self._name

    def open(self) -> io.BytesIO:
        return io.BytesIO(self._bytes)

    def read(self) -> bytes:
        return self._bytes

    def tail(self, count: int) -> bytes:
        return self._bytes[-count:]


def _built_pairs(builder) -> dict[str, _BuiltPairs]:
    return {
        split: _BuiltPairs(registry.open_source(builder, split)) for split in builder.info.splits
    }
