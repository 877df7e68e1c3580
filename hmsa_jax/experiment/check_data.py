"""Reading a whole data set before anything is trained on it: what it holds, and what is wrong."""

import collections
import dataclasses
import io
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import ml_collections
import rich.table

from data import built, checks, registry
from data.builder import SegmentationBuilder
from data.checks import Pair
from data.label_reader import ColourReader, NumberReader
from data.label_spec import LabelSpec
from data.problems import Problems
from hmsa_jax.config import schema
from hmsa_jax.experiment import browse, page_file
from hmsa_jax.input.pipeline import Source
from hmsa_jax.input.remarks import tell_remarks
from hmsa_jax.report.checked_data import CheckedData, Statistics
from hmsa_jax.runtime.progress import console, tell

_SIZES_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class _Opened:
    """A data set before it is checked.

    Attributes:
      data: what is known of it so far.
      splits: split -> its pairs.
      colours: that values have by what the data set says.
      reader: of its labels.
    """

    data: CheckedData
    splits: Mapping[str, Sequence[Pair]]
    colours: checks.Colours
    reader: NumberReader | ColourReader


def check_data(
    config: ml_collections.ConfigDict,
    page: pathlib.Path | None = None,
    *,
    pictures: int = browse.PICTURES,
) -> bool:
    """decodes every image and label of the config's data set and prints what is there.

    A table a split tells the pixels of each class; below them stands what is to be known of the
    files, like those that are left out, and everything that is wrong, each file by its name. A data
    set from a directory is read where it lies, before anything is built; without the directory, as
    it is built.

    Args:
      config: of an experiment; its fields `data.name`, `data.dir` and `data.cache_dir` count.
      page: of the data set, which is written if it is named, whatever is wrong with the files.
      pictures: how many images the page shows, at most.

    Returns:
      Whether nothing is wrong.

    Raises:
      ValueError: the config is wrong, a class list or an archive cannot be read, or the page cannot
        be written.
      FileNotFoundError: there is no data set in the directory.
      PermissionError: a folder may not be read.
    """
    schema.check(config)
    if page is not None:
        page_file.check(page, "--browse")
    opened = _open(config)
    data, label_spec = opened.data, opened.data.label_spec
    found = built.Found()
    for split, pairs in opened.splits.items():
        title, statistics = f"{data.name}/{split}", data.of_split(split)
        for finding in checks.inspect(
            pairs,
            len(pairs),
            label_spec,
            opened.colours,
            description=f"Checking {title}",
            reader=opened.reader,
        ):
            data.add(split, finding)
            found.add(split, finding.counts)
        if statistics.labels:
            data.absent += _absent(title, statistics, label_spec)
        tell(f"{title}: {statistics.images} images, {_sizes(statistics.sizes)}")
        console.print(to_table(label_spec.names, statistics))
    data.unteaching = _unteaching(config.data.train_split, data.name, found, label_spec)
    _tell_result(data)
    if page is not None:
        browse.browse(data, opened.splits, opened.reader, page, pictures=pictures)
    return data.is_fine


def _open(config: ml_collections.ConfigDict) -> _Opened:
    """The pairs of all splits: of a directory where it lies, else as they are built."""
    data = config.data
    name, directory = data.name, data.dir or None
    dataset = registry.get(name, directory, data.cache_dir, data.built)
    if dataset.needs_dir and directory:
        source = registry.source_directory(name, directory)
        pairs, problems = dataset.builder.pairs(source)
        checked = CheckedData(name, str(source), dataset.label_spec, problems)
        colours, reader = dataset.builder.colours(source), dataset.builder.label_reader(source)
        return _Opened(checked, pairs, colours, reader)
    builder = registry.prepare(name, directory, data.cache_dir, data.built, data.encoding)
    tell_remarks(builder)
    problems = Problems(dataset.label_spec.describe_values())
    checked = CheckedData(name, str(builder.data_dir), dataset.label_spec, problems)
    return _Opened(checked, _built_pairs(builder), {}, NumberReader())


def _tell_result(data: CheckedData) -> None:
    tell_problems(data.problems, data.absent)
    for line in data.unteaching:
        tell(line, "red")
    if data.is_fine:
        has_remarks = data.absent or any(data.problems.listed(remarks=True))
        fine = "Nothing is refused, but see above." if has_remarks else "Nothing is wrong."
        tell(fine, "green")


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


class _BuiltPairs(Sequence[Pair]):
    """The pairs of a split of a built data set, read from its records when they are wanted."""

    def __init__(self, source: Source):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Pair:  # type: ignore[override]
        record = self._source[index]
        image, label = (_Held(record, field) for field in ("image", "label"))
        return Pair(record["id"], image, label)  # type: ignore[arg-type]  # read alike

    def __iter__(self) -> Iterator[Pair]:
        return (self[index] for index in range(len(self)))


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
