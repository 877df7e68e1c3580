"""Reading a whole data set before anything is trained on it: what it holds, and what is wrong."""

import collections
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np
import rich.table

from data import built, checks, registry
from data.builder import SegmentationBuilder
from data.checks import Finding, Pair
from data.label_reader import NumberReader
from data.label_spec import LabelSpec
from data.problems import Problems
from hmsa_jax.config import schema
from hmsa_jax.input.pipeline import Source
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.runtime.progress import console, tell

_SIZES_SHOWN = 3


class Statistics:
    """Adds up what the images of a split hold.

    Args:
      label_spec: of the labels.
    """

    def __init__(self, label_spec: LabelSpec):
        self._label_spec = label_spec
        self.images = 0
        self.labels = 0
        self.sizes: collections.Counter[tuple[int, int]] = collections.Counter()
        self.pixels = np.zeros(len(label_spec.names), np.int64)
        self.images_with = np.zeros(len(label_spec.names), np.int64)
        self.ignored = 0

    def add(self, finding: Finding) -> None:
        """Takes one image."""
        self.images += 1
        if finding.size is not None:
            self.sizes[finding.size] += 1
        if finding.counts is None:
            return
        self.labels += 1
        pixels = built.class_pixels(finding.counts, self._label_spec)
        self.pixels += pixels
        self.images_with += pixels > 0
        self.ignored += int(finding.counts.sum() - pixels.sum())


def check_data(config: ml_collections.ConfigDict) -> bool:
    """decodes every image and label of the config's data set and prints what is there.

    A table a split tells the pixels of each class; below them stands what is to be known of the
    files, like those that are left out, and everything that is wrong, each file by its name. A data
    set from a directory is read where it lies, before anything is built; without the directory, as
    it is built.

    Args:
      config: of an experiment; its fields `data.name`, `data.dir` and `data.cache_dir` count.

    Returns:
      Whether nothing is wrong.

    Raises:
      ValueError: the config is wrong, or a class list or an archive cannot be read.
      FileNotFoundError: there is no data set in the directory.
      PermissionError: a folder may not be read.
    """
    schema.check(config)
    data = config.data
    name, directory = data.name, data.dir or None
    dataset = registry.get(name, directory, data.cache_dir, data.built)
    label_spec = dataset.label_spec
    splits: Mapping[str, Any]
    if dataset.needs_dir and directory:
        source = registry.source_directory(name, directory)
        splits, problems = dataset.builder.pairs(source)
        colours, reader = dataset.builder.colours(source), dataset.builder.label_reader(source)
    else:
        builder = registry.prepare(name, directory, data.cache_dir, data.built, data.encoding)
        tell_remarks(builder)
        splits = _built_pairs(builder)
        problems, colours = Problems(label_spec.describe_values()), {}
        reader = NumberReader()
    found, absent = built.Found(), []
    for split, pairs in splits.items():
        statistics = Statistics(label_spec)
        for finding in checks.inspect(
            pairs,
            len(pairs),
            label_spec,
            colours,
            description=f"Checking {name}/{split}",
            reader=reader,
        ):
            statistics.add(finding)
            found.add(split, finding.counts)
            for problem in finding.problems:
                problems.add(*problem)
        if statistics.labels:
            absent += _absent(f"{name}/{split}", statistics, label_spec)
        tell(f"{name}/{split}: {statistics.images} images, {_sizes(statistics.sizes)}")
        console.print(to_table(dataset.classes, statistics))
    unteaching = _unteaching(config.data.train_split, name, found, label_spec)
    tell_problems(problems, absent)
    for line in unteaching:
        tell(line, "red")
    if not problems and not unteaching:
        has_remarks = absent or any(problems.listed(remarks=True))
        fine = "Nothing is refused, but see above." if has_remarks else "Nothing is wrong."
        tell(fine, "green")
    return not problems and not unteaching


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


def _absent(title: str, statistics: Statistics, label_spec: LabelSpec) -> list[str]:
    """The line that says which classes a split does not show; none if it shows all."""
    names = built.absent(statistics.pixels, label_spec)
    if not names:
        return []
    if len(names) == len(label_spec.names):
        return [f"{title} has no labelled pixel."]
    return [f"{title} has no pixel of {', '.join(names)}."]


def _unteaching(split: str, name: str, found: built.Found, label_spec: LabelSpec) -> list[str]:
    """The line that says why training on the config's split is refused; none if it is not."""
    pixels = found.class_pixels(split, label_spec)
    why = "" if pixels is None else built.why_nothing_is_learnt(pixels, label_spec)
    return [f"{name}/{split} cannot be trained on: {why}."] if why else []


def tell_problems(problems: Problems, notes: Iterable[str] = ()) -> None:
    """Tells what is to be known of the files, with notes, and then what is wrong with them."""
    for heading, found, remedy in problems.listed(remarks=True):
        _tell_kind(heading, found, remedy, "yellow")
    for note in notes:
        tell(note, "yellow")
    for heading, found, remedy in problems.listed(remarks=False):
        _tell_kind(heading, found, remedy, "red")


def _tell_kind(heading: str, found: list[str], remedy: str, style: str) -> None:
    tell(f"{heading}:", style)
    for what in found:
        tell(f"  {what}")
    tell(remedy)


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
        for i in range(len(self._source)):
            record = self._source[i]
            image, label = (_Held(record, field) for field in ("image", "label"))
            yield Pair(record["id"], image, label)  # type: ignore[arg-type]  # read alike


class _Held:
    """A field of a record, read like a `data.files.File`."""

    def __init__(self, record: Mapping[str, Any], field: str):
        self._name = f"{field} of record {record['id']}"
        self._bytes = record[field]

    def __str__(self) -> str:
        return self._name

    def open(self) -> io.BytesIO:
        return io.BytesIO(self._bytes)


def _built_pairs(builder: SegmentationBuilder) -> dict[str, _BuiltPairs]:
    return {
        split: _BuiltPairs(registry.open_source(builder, split)) for split in builder.info.splits
    }
